"""``IndexBuilder``: values are checked at the call, the recording as a whole when it is written."""

import re

import cv2
import numpy as np
import pytest

import drivemim
from drivemim.data.boxes.ground_truth import frame_boxes
from drivemim.errors import DataError
from drivemim.geometry.poses import pose_matrix

START = 1_600_000_000_000_000
FORWARD = [0.5, -0.5, 0.5, -0.5]
INTRINSICS = [40.0, 40.0, 32.0, 24.0]
MOUNT = [1.5, 0, 1.5, *FORWARD]
HALF = float(np.sqrt(0.5))
STANDING = [0, 0, 0, 1, 0, 0, 0]


def _image(root, name, level=0, size=(64, 48)):
    (root / name).parent.mkdir(exist_ok=True)
    cv2.imwrite(str(root / name), np.full((size[1], size[0], 3), level, np.uint8))
    return name


@pytest.fixture
def builder(tmp_path):
    (tmp_path / "data").mkdir()
    return drivemim.IndexBuilder(tmp_path / "data")


@pytest.fixture
def scene(builder):
    """A scene with one camera, whose ego turns left on the spot within one second."""
    scene = builder.add_scene("monday", split="train", description="rain")
    scene.add_poses(
        [START, START + 1_000_000], [[5, 2, 0, 1, 0, 0, 0], [5, 2, 0, HALF, 0, 0, HALF]]
    )
    scene.add_camera("front", intrinsics=INTRINSICS, size=(64, 48), camera_to_ego=MOUNT)
    for step in range(3):
        name = _image(builder.root, f"front/{step}.png", step)
        scene.add_frame("front", name, START + 500_000 * step)
    return scene


def test_an_index_by_hand(builder, scene, tmp_path):
    # In the ego frame, 10 m ahead; the ego looks along y by then.
    scene.add_boxes(
        START + 1_000_000,
        tracks=[7],
        categories=["car"],
        centers=[[10, 0, 1]],
        sizes=[[2, 4, 1.5]],
        rotations=[0.0],
        frame=scene.pose_at(START + 1_000_000),
    )
    index = builder.write(tmp_path / "index.arrow")
    assert (list(index.scenes.name), list(index.scenes.split)) == (["monday"], ["train"])
    assert index.scenes.rain.tolist() == [True]
    assert index.info.source == "custom"
    assert index.frames.path[0] == "front/0.png"
    np.testing.assert_allclose(index.boxes.center, [[5, 12, 1]], atol=1e-12)
    np.testing.assert_allclose(np.abs(index.boxes.rotation), [[HALF, 0, 0, HALF]], atol=1e-12)
    eighth = np.pi / 8
    np.testing.assert_allclose(
        index.frames.ego_to_global[1], [5, 2, 0, np.cos(eighth), 0, 0, np.sin(eighth)], atol=1e-12
    )
    # 8.5 m ahead of the camera, 0.5 m below it: 2 m wide, 1.5 m high, 4 m long.
    found = frame_boxes(index, np.array([2]))
    near = 6.5
    assert found.depth.tolist() == pytest.approx([8.5])
    expected = [32 - 40 / near, 24 - 40 * 0.25 / near, 32 + 40 / near, 24 + 40 * 1.25 / near]
    np.testing.assert_allclose(found.boxes[0], expected, atol=1e-9)
    # Of the three images, only the last is at an annotated moment.
    assert index.frames.keyframe.tolist() == [False, False, True]
    assert index.samples.timestamp.tolist() == [START, START + 500_000, START + 1_000_000]


def test_poses_and_rotations_in_every_form(builder, tmp_path):
    matrix = np.eye(4)
    matrix[:3, :3] = [[0, 0, 1], [-1, 0, 0], [0, -1, 0]]
    matrix[:3, 3] = [1.5, 0, 1.5]
    K = [[40, 0, 32], [0, 40, 24], [0, 0, 1]]
    scene = builder.add_scene("monday")
    scene.add_camera("front", intrinsics=K, size=np.array([64, 48]), camera_to_ego=matrix)
    for step in range(2):
        name = _image(builder.root, f"front/{step}.png")
        pose = pose_matrix([step, 2, 3], [HALF, 0, 0, HALF])
        image = builder.root / name if step else name
        scene.add_frame("front", image, np.int64(START + 100_000 * step), pose=pose)
    turn = [[0, -1, 0], [1, 0, 0], [0, 0, 1]]
    for step, rotations in enumerate(([np.pi / 2], [[HALF, 0, 0, HALF]], [turn])):
        scene.add_boxes(
            START + 100_000 * step, tracks=["a"], categories=["car"], centers=[[1, 2, 3]],
            sizes=[[1, 2, 3]], rotations=rotations, visibility=[3], lidar_points=[12],
            attributes=["vehicle.moving"],
        )  # fmt: skip
    index = builder.write(tmp_path / "index.arrow")
    np.testing.assert_allclose(index.boxes.rotation, [[HALF, 0, 0, HALF]] * 3)
    np.testing.assert_allclose(index.frames.camera_to_ego, [MOUNT] * 2)
    np.testing.assert_allclose(index.frames.intrinsics, [K] * 2)
    np.testing.assert_allclose(index.frames.ego_to_global[1], [1, 2, 3, HALF, 0, 0, HALF])
    assert index.boxes.visibility.tolist() == [3] * 3
    assert index.boxes.lidar_points.tolist() == [12] * 3
    assert index.attributes == ("vehicle.moving",)


CALLS = {
    "a scene twice": (lambda b, s: b.add_scene("monday"), "scene 'monday' is there already"),
    "a scene without a name": (lambda b, s: b.add_scene(""), "scene '' is no name"),
    "a camera twice": (lambda b, s: s.add_camera(
        "front", intrinsics=INTRINSICS, size=(64, 48), camera_to_ego=MOUNT),
        "scene 'monday': camera 'front' is given twice"),
    "intrinsics of another shape": (lambda b, s: s.add_camera(
        "back", intrinsics=[1, 2], size=(64, 48), camera_to_ego=MOUNT),
        r"'back' has intrinsics of shape \(2,\); use a 3x3"),
    "intrinsics that are words": (lambda b, s: s.add_camera(
        "back", intrinsics="wide", size=(64, 48), camera_to_ego=MOUNT), "intrinsics are not numb"),
    "normalised intrinsics": (lambda b, s: s.add_camera(
        "back", intrinsics=[0.6, 0.8, 0.5, 0.5], size=(64, 48), camera_to_ego=MOUNT),
        "intrinsics of 'back' .* is a fraction of the image's size"),
    "infinite intrinsics": (lambda b, s: s.add_camera(
        "back", intrinsics=[np.inf, 40, 32, 24], size=(64, 48), camera_to_ego=MOUNT),
        "has intrinsics that are not all numbers"),
    "half a pixel": (lambda b, s: s.add_camera(
        "back", intrinsics=INTRINSICS, size=(64.5, 48), camera_to_ego=MOUNT),
        r"'back' has size \(64\.5, 48\); use width and height"),
    "a mount of another shape": (lambda b, s: s.add_camera(
        "back", intrinsics=INTRINSICS, size=(64, 48), camera_to_ego=np.eye(3)),
        r"poses of shape \(1, 3, 3\) are neither"),
    "a projective mount": (lambda b, s: s.add_camera(
        "back", intrinsics=INTRINSICS, size=(64, 48), camera_to_ego=np.ones((4, 4))),
        "'back' has a bottom row other than 0, 0, 0, 1"),
    "a mount in millimetres": (lambda b, s: s.add_camera(
        "back", intrinsics=INTRINSICS, size=(64, 48), camera_to_ego=[1500, 0, 1500, *FORWARD]),
        "'back' is 2,121 m from the ego's origin"),
    "poses twice": (lambda b, s: s.add_poses([START], [STANDING]), "has poses already"),
    "another camera": (lambda b, s: s.add_frame("frnt", "front/0.png", START),
                       "has no camera 'frnt', only front; did you mean 'front'"),
    "a missing image": (lambda b, s: s.add_frame("front", "front/9.png", START),
                        "front/9.png is missing"),
    "an image twice": (lambda b, s: s.add_frame("front", "front/0.png", START + 1),
                       "front/0.png was added before"),
    "an image by another path": (lambda b, s: s.add_frame(
        "front", b.root / "front" / ".." / "front" / "0.png", 1), "0.png was added before"),
    "an image outside": (lambda b, s: s.add_frame("front", _image(b.root.parent, "a/b.png") and (
        b.root.parent / "a" / "b.png"), START + 1), "is outside of the builder's root"),
    "a time twice": (lambda b, s: s.add_frame("front", _image(b.root, "front/9.png"), START),
                     "9.png and .*0.png are both images of front at 16"),
    "another size": (lambda b, s: s.add_frame(
        "front", _image(b.root, "front/9.png", size=(48, 64)), START + 1),
        r"is 48x64 pixels, but scene 'monday' says that front has 64x48 \(width and height are sw"),
    "a time without a pose": (lambda b, s: s.add_frame(
        "front", _image(b.root, "front/9.png"), START + 1_050_001),
        r"9\.png at \d+ is 0\.050 s after the poses of scene 'monday', .* continued for 0\.05 s"),
    "another unit": (lambda b, s: s.add_frame(
        "front", _image(b.root, "front/9.png"), START * 1000), r"another unit \(a factor of 1,000"),
    "seconds": (lambda b, s: s.add_frame("front", _image(b.root, "front/9.png"), START / 1e6),
                "add_frame: timestamp must be int, not float"),
    "a scan without a lidar": (lambda b, s: s.add_scan("front/0.png", START),
                                "has no lidar; call add_lidar first"),
    "a picture as a scan": (lambda b, s: (s.add_lidar(STANDING), s.add_scan(
        "front/0.png", START)), r"front/0\.png was added before"),
    "a scan of another format": (lambda b, s: (s.add_lidar(STANDING), s.add_scan(
        _image(b.root, "front/9.png"), START)), r"front/9\.png is not one of \.npy, \.bin"),
    "two lidars": (lambda b, s: (s.add_lidar(STANDING), s.add_lidar(STANDING)),
                   "has a lidar already"),
    "a box without a size": (lambda b, s: _boxes(s, sizes=[[0, 1, 1]]),
                             r"boxes of scene 'monday' at \d+: box 0 has the size \[0\.0, 1\.0"),
    "a box without a track": (lambda b, s: _boxes(s, tracks=[""]), "box 0 has no track"),
    "more tracks than boxes": (lambda b, s: _boxes(s, tracks=["a", "b"]), "2 tracks for 1 centers"),
    "a box of two axes": (lambda b, s: _boxes(s, centers=[[1, 2]]), r"centers \(1, 2\), sizes"),
    "a size without a box": (lambda b, s: s.add_boxes(START, sizes=[[1, 2, 3]]),
                             r"centers \(0,\), sizes \(1, 3\) and rotations \(0,\) must be"),
    "one number as a centre": (lambda b, s: s.add_boxes(START, centers=1.0),
                               r"centers \(\), sizes \(0,\) and rotations \(0,\) must be"),
    "no rotation": (lambda b, s: _boxes(s, rotations=[[1, 1, 0, 0]]),
                    "box 0 has the quaternion .* of length 1.41, not 1"),
    "degrees": (lambda b, s: _boxes(s, rotations=[90.0]), "box 0 has the yaw 90; write radians"),
    "a box that is nowhere": (lambda b, s: _boxes(s, centers=[[np.nan, 0, 0]]),
                              "box 0 has the centre"),
    "visibility in percent": (lambda b, s: _boxes(s, visibility=[80]),
                              "box 0 has visibility 80; use 1 to 4"),
    "a word for a number": (lambda b, s: b.add_scene(3), "add_scene: name must be str, not int"),
    "poses without times": (lambda b, s: b.add_scene("t").add_poses([], np.zeros((0, 7))),
                            "scene 't': there are no poses"),
    "fewer poses": (lambda b, s: b.add_scene("t").add_poses([1, 2], [STANDING]),
                    "scene 't': 2 timestamps, 1 poses"),
    "times in seconds": (lambda b, s: b.add_scene("t").add_poses([1.5], [STANDING]),
                         "scene 't': timestamps of type float64"),
    "a pose twice": (lambda b, s: b.add_scene("t").add_poses([5, 5], [STANDING] * 2),
                     "scene 't': pose 1 is not later than the pose before it"),
    "no poses": (lambda b, s: b.add_scene("t").pose_at(START), "scene 't' has no poses; call"),
    "no such source": (lambda b, s: b.add_source("lost.csv"), "no file lost.csv"),
}  # fmt: skip


def _boxes(scene, **changes):
    box = {
        "tracks": ["a"], "categories": ["car"], "centers": [[1, 2, 3]], "sizes": [[1, 2, 3]],
        "rotations": [0.5],
    }  # fmt: skip
    scene.add_boxes(START, **(box | changes))


@pytest.mark.parametrize("name", CALLS)
def test_a_wrong_value_is_refused_at_the_call(builder, scene, name):
    call, message = CALLS[name]
    with pytest.raises((DataError, FileNotFoundError, TypeError), match=message) as error:
        call(builder, scene)
    assert "\n" not in str(error.value)
    # The refused call has added nothing.
    assert len(scene.frames["front"]) == 3
    assert len(scene.boxes) == 0


def test_moments_without_boxes_are_checked_like_those_with_boxes(builder, scene):
    scene.add_boxes(START)
    with pytest.raises(
        DataError, match=rf"at {START}: the moment has nothing at {START}, but the "
    ):
        scene.add_boxes(START)
    with pytest.raises(DataError, match=r"box 0 has a box at \d+, but the moment has nothing at "):
        _boxes(scene)
    assert builder.check() == []
    scene.add_boxes(START + 2_000_001)
    (problem,) = builder.check()
    assert f"the moment is at {START + 2_000_001}, more than 1 s from every image" in problem


def test_the_recording_as_a_whole_is_checked_when_it_is_written(builder, scene, tmp_path):
    """Cameras in another order of quaternions, a lens, and an ego on its side."""
    out = tmp_path / "index.arrow"
    # To the left and to the right, as x, y, z, w.
    for name, rotation in (("left", [-HALF, 0, 0, HALF]), ("right", [0, HALF, -HALF, 0])):
        scene.add_camera(name, intrinsics=INTRINSICS, size=(64, 48), distortion=[-0.3, 0, 0, 0],
                         camera_to_ego=[0, 0, 1.5, *rotation])  # fmt: skip
        image = _image(builder.root, f"{name}/0.png", 9)
        scene.add_frame(name, image, START)
    other = builder.add_scene("empty")
    other.add_poses(START + np.arange(5), [[0, 0, 0, HALF, HALF, 0, 0]] * 5)
    problems = builder.check()
    assert len(problems) == 4
    for problem, message in zip(problems, (
        "scene 'empty' has no image", "rotation .* of 'left' turns .*: write w first",
        "scene 'empty': rotation .* of pose 0 turns the z axis", "has distortion .*, use rectified",
    ), strict=True):  # fmt: skip
        assert re.search(message, problem), problem
    with pytest.raises(DataError, match=r"'empty' has no image.* \(the first of 4; check\(\) has"):
        builder.write(out)
    assert not out.exists()


def test_a_recording_without_images_is_refused(builder, tmp_path):
    assert builder.check() == [f"{builder.root}: there are no scenes; add at least one"]
    with pytest.raises(DataError, match="there are no scenes"):
        builder.write(tmp_path / "index.arrow")
    with pytest.raises(FileNotFoundError, match="no folder"):
        drivemim.IndexBuilder(tmp_path / "lost")
    with pytest.raises(DataError, match="lidar_values=2"):
        drivemim.IndexBuilder(tmp_path, lidar_values=2)


def test_sources_that_change_make_the_index_old(builder, scene, tmp_path):
    source = tmp_path / "log.txt"
    source.write_text("1")
    builder.add_source(source)
    builder.write(tmp_path / "index.arrow")
    source.write_text("22")
    with pytest.raises(DataError, match=r"log\.txt changed .* rebuild with the script that calls"):
        drivemim.open_index(tmp_path / "index.arrow")


def test_an_ego_that_drives_sideways_is_warned_of(builder, tmp_path, caplog):
    """Along y, while the ego's x axis points along x: by its own axes, to the left."""
    times = START + 500_000 * np.arange(8)
    for name, rotation in (("ahead", [HALF, 0, 0, HALF]), ("sideways", [1, 0, 0, 0])):
        scene = builder.add_scene(name)
        scene.add_poses(times, [[0, 3.0 * step, 0, *rotation] for step in range(8)])
        scene.add_camera("front", intrinsics=INTRINSICS, size=(64, 48), camera_to_ego=MOUNT)
        scene.add_frame("front", _image(builder.root, f"{name}/0.png"), START)
    assert builder.check() == []
    (line,) = caplog.messages
    assert "scene 'sideways': the ego moves 90 degrees (median) away from its x axis" in line


def test_an_ego_above_its_cameras_is_warned_of(builder, tmp_path, caplog):
    scene = builder.add_scene("roof")
    mount = [1, 0, -0.2, *FORWARD]
    scene.add_camera("front", intrinsics=INTRINSICS, size=(64, 48), camera_to_ego=mount)
    scene.add_frame("front", _image(builder.root, "a/0.png"), START, pose=STANDING)
    assert builder.check() == []
    assert "the highest camera, 'front', is at z = -0.20 m in the ego frame" in caplog.text
