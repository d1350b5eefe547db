"""Boxes of recordings, whose annotated moments are not the times of the images, by hand."""

import cv2
import numpy as np
import pytest

import drivemim
from drivemim.data.boxes.ground_truth import frame_boxes, interpolate_boxes
from drivemim.data.boxes.track_poses import clip_track_boxes
from drivemim.data.detection.detection3d_dataset import FrameDetection3D

START = 1_600_000_000_000_000
MOUNT = [1.5, 0, 1.5, 0.5, -0.5, 0.5, -0.5]
SPEED = 15.0
"""Of the cars, metres per second along x."""


@pytest.fixture
def record(tmp_path):
    """Return the index of images and boxes; times in milliseconds."""

    def record(images, boxes):
        """Boxes: (track, x, yaw) of each moment."""
        (tmp_path / "front").mkdir()
        builder = drivemim.IndexBuilder(tmp_path)
        scene = builder.add_scene("monday")
        scene.add_poses([START, START + 1_000_000], [[0, 0, 0, 1, 0, 0, 0]] * 2)
        scene.add_camera("front", intrinsics=[40, 40, 32, 24], size=(64, 48), camera_to_ego=MOUNT)
        for number, time in enumerate(images):
            name = f"front/{time}.png"
            cv2.imwrite(str(tmp_path / name), np.full((48, 64, 3), number, np.uint8))
            pose = [0, 0, 0, 1, 0, 0, 0]
            scene.add_frame("front", name, START + 1000 * time, pose=pose)
        for time, objects in boxes.items():
            tracks, x, yaw = zip(*objects, strict=True) if objects else ((), (), ())
            scene.add_boxes(
                START + 1000 * time,
                tracks=list(tracks),
                categories=["car"] * len(x),
                centers=[[each, 1, 0.75] for each in x],
                sizes=[[2, 4, 1.5]] * len(x),
                rotations=list(yaw),
                lidar_points=[5] * len(x),
            )
        return builder.write(tmp_path / "index.arrow")

    return record


def _x(index, row):
    """Return the x of each track in a frame, metres, and its yaw."""
    found = interpolate_boxes(index, np.array([row]))
    tracks = [index.tracks.token[index.boxes.track[box]] for box in found.box]
    yaws = 2 * np.arctan2(found.rotation[:, 3], found.rotation[:, 0])
    pairs = zip(found.center[:, 0].tolist(), yaws.tolist(), strict=True)
    return dict(zip(tracks, pairs, strict=True))


@pytest.mark.parametrize("offset", [40, -40])
def test_keyframes_have_boxes_at_their_own_time(record, offset):
    """At 15 m/s, 40 ms are 0.6 m, in every keyframe: between two moments and at both ends."""
    times = [100, 600, 1100]
    index = record(
        times,
        {time + offset: [("a", 20 + SPEED * k / 2, 0.1 * k)] for k, time in enumerate(times)},
    )
    assert index.frames.keyframe.all()
    away = SPEED * offset / 1000
    for row in range(3):
        x, yaw = _x(index, row)["monday/a"]
        assert x == pytest.approx(20 + SPEED * row / 2 - away)
        # 40 ms of 500 ms are 0.008 of the 0.1 rad; rotations are not continued beyond the ends.
        turned = 0.1 * row - 0.008 * np.sign(offset)
        assert yaw == pytest.approx(np.clip(turned, 0, 0.2), abs=1e-5)
    # 20 m - 0.6 m - half its length from the ego, and the camera is at 1.5 m.
    found = frame_boxes(index, np.array([0]))
    assert found.depth[0] == pytest.approx(20 - away - 1.5)
    assert found.distance[0] == pytest.approx(np.hypot(20 - away, 1))
    assert found.center[0].tolist() == pytest.approx([20 - away, 1, 0.75])
    if offset > 0:  # its yaw is 0: the left edge is the rear's
        assert found.boxes[0, 0] == pytest.approx(32 - 40 * 2 / (20 - away - 2 - 1.5))


def test_detectors_get_the_boxes_at_the_images_time(record):
    index = record([100, 600], {140: [("a", 20, 0)], 640: [("a", 27.5, 0)]})
    dataset = FrameDetection3D(
        index=index.path, filters={"min_points": 1}, class_map={"car": "car"}
    )
    (instance,) = dataset.get_data_info(1)["instances"]
    assert instance["center"] == pytest.approx([-1, 0.75, 27.5 - 0.6 - 1.5])


def test_a_keyframe_at_its_moment_has_the_annotation_unchanged(record):
    index = record([100, 600], {100: [("a", 1 / 3, 0)], 600: [("a", 2 / 3, 0.7)]})
    found = interpolate_boxes(index, np.arange(2))
    np.testing.assert_array_equal(found.center, index.boxes.center)
    np.testing.assert_array_equal(found.rotation, index.boxes.rotation)


def test_objects_of_one_moment_stay_where_they_are(record):
    """Seen once, or not in the next moment, or in moments more than 1.5 s apart."""
    index = record(
        [100, 600, 1100, 2700],
        {
            140: [("once", 10, 0), ("gap", 10, 0)],
            640: [],
            1140: [("gap", 20, 0), ("far", 10, 0)],
            2660: [("far", 30, 0)],
        },
    )
    assert index.frames.keyframe.all()
    assert _x(index, 0) == {"monday/once": (10, 0), "monday/gap": (10, 0)}
    assert _x(index, 2) == {"monday/gap": (20, 0), "monday/far": (10, 0)}
    assert _x(index, 3) == {"monday/far": (30, 0)}


def test_motion_is_continued_for_half_of_the_time_between_two_moments(record):
    """Moments 20 ms apart, a metre on: the image 50 ms before them is at -0.5 m, not -2.5 m."""
    index = record([100], {150 + 20 * k: [("a", 10 + k, 0)] for k in range(3)})
    assert _x(index, 0) == {"monday/a": (9.5, 0)}


def test_objects_that_appear_are_left_out_more_than_half_a_second_before(record):
    """Moments 1.4 s apart; the car "b" is in the second only."""
    times = [0, 800, 900, 1000, 1400]
    index = record(times, {0: [("a", 0, 0)], 1400: [("a", 14, 0), ("b", 30, 0)]})
    for row, time in enumerate(times[1:-1], 1):
        found = _x(index, row)
        assert found["monday/a"][0] == pytest.approx(time / 100)
        assert ("monday/b" in found) == (time >= 900)
    assert _x(index, 4)["monday/b"] == (30, 0)
    # So do the tracks of masks.
    tracks = clip_track_boxes(index, np.arange(5)[:, None])
    assert tracks.present_TNK[:, 0].tolist() == [
        [True, False], [True, False], [True, True], [True, True], [True, True]
    ]  # fmt: skip


def test_tracks_of_two_scenes_do_not_merge(tmp_path):
    """Track "b/c" of the scene "a", and track "c" of the scene "a/b"."""
    builder = drivemim.IndexBuilder(tmp_path)
    for number, (name, track) in enumerate((("a", "b/c"), ("a/b", "c"), ("a/b/c", "%2F"))):
        image = f"{number}.png"
        cv2.imwrite(str(tmp_path / image), np.full((48, 64, 3), number, np.uint8))
        scene = builder.add_scene(name)
        scene.add_camera("front", intrinsics=[40, 40, 32, 24], size=(64, 48), camera_to_ego=MOUNT)
        scene.add_frame("front", image, START, pose=[0, 0, 0, 1, 0, 0, 0])
        scene.add_boxes(
            START, tracks=[track], categories=[["car", "truck", "bus"][number]],
            centers=[[1, 2, 3]], sizes=[[1, 2, 3]], rotations=[0.0],
        )  # fmt: skip
    index = builder.write(tmp_path / "index.arrow")
    assert list(index.tracks.token) == ["a/b%2Fc", "a/b/c", "a/b/c/%252F"]
    assert index.boxes.track.tolist() == [0, 1, 2]
    names = [index.categories[each] for each in index.tracks.category]
    assert names == ["car", "truck", "bus"]
    assert len(set(index.boxes.token)) == 3
