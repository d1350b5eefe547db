"""A real stereo rig with sweeps, lidar and tracks, against the boxes of its source."""

import json

import numpy as np
import pytest

from drivemim.data.boxes.ground_truth import frame_boxes, interpolate_boxes
from drivemim.data.clips.clip_coverage import measure_coverage
from drivemim.data.clips.clip_dataset import ClipDataset
from drivemim.data.index.builders.nuscenes import build_nuscenes_index
from drivemim.data.index.frame_index import FrameIndex
from drivemim.geometry.boxes import box_corners
from drivemim.geometry.poses import invert_pose, transform_points


@pytest.fixture(scope="module")
def root(real_data):
    folder = real_data / "kitti-rig"
    if not folder.is_dir():
        pytest.skip(f"no real frames at {folder}")
    return folder


@pytest.fixture(scope="module")
def index(root, tmp_path_factory):
    out = tmp_path_factory.mktemp("rig") / "index.arrow"
    return FrameIndex.open(build_nuscenes_index(root, "v1.0-mini", out))


def test_the_index(index):
    assert (len(index.frames), len(index.samples), len(index.boxes)) == (308, 31, 143)
    assert len(index.tracks) == 18
    assert index.cameras == ("CAM_FRONT", "CAM_FRONT_RIGHT")
    assert index.scenes.frame_count.tolist() == [[100, 100], [54, 54]]
    # Five frames from one keyframe to the next.
    assert index.frames.keyframe.sum() == 2 * 31
    assert set(index.boxes.visibility.tolist()) == {1, 3, 4}
    # The right camera stands half a metre to the right of the left one, and looks the same way.
    left, right = (index.camera_to_global(int(row)) for row in index.samples.keyframes[0])
    offset = invert_pose(left) @ right
    assert offset[:3, 3] == pytest.approx([0.54, 0, 0], abs=0.03)
    assert offset[:3, :3] == pytest.approx(np.eye(3), abs=0.02)


def _overlap(one, other):
    low, high = np.maximum(one[:2], other[:2]), np.minimum(one[2:], other[2:])
    common = np.prod(np.maximum(high - low, 0))
    areas = sum(np.prod(box[2:] - box[:2]) for box in (one, other))
    return common / (areas - common)


def _nearest_depth(index, row, box):
    """Metres from a frame's camera to the nearest corner of a box, along its axis."""
    found = interpolate_boxes(index, np.array([row]))
    one = np.flatnonzero(found.box == box)
    size = index.boxes.size[found.box[one]]
    corners = box_corners(found.center[one], size, found.rotation[one])
    return transform_points(invert_pose(index.camera_to_global(row)), corners)[..., 2]


def test_interpolated_boxes_are_those_of_the_source(root, index):
    """The source annotates every frame; here keyframes are known and sweeps are interpolated."""
    reference = json.loads((root / "tracklets_2d.json").read_text())
    frames = index.frames
    rows = np.flatnonzero(frames.camera == 0)
    found = frame_boxes(index, rows, keep_unlabelled=True)
    overlaps = {"keyframe": [], "sweep": []}
    for position, row in enumerate(rows.tolist()):
        expected = reference[str(frames.timestamp[row])]
        for at in range(found.offsets[position], found.offsets[position + 1]):
            box = int(found.box[at])
            if not frames.keyframe[row] and index.boxes.previous[box] < 0:
                continue  # a track's first box, which nothing can be interpolated to
            if _nearest_depth(index, row, box).min() <= 0.5:
                continue  # the source leaves these out
            category = f":{index.categories[index.boxes.category[box]]}"
            same = [np.array(each) for name, each in expected.items() if name.endswith(category)]
            kind = "keyframe" if frames.keyframe[row] else "sweep"
            overlaps[kind].append(max(_overlap(found.boxes[at], each) for each in same))
    assert {kind: len(values) for kind, values in overlaps.items()} == {
        "keyframe": 140,
        "sweep": 537,
    }
    # Keyframes have the boxes of the lidar's time, 10 ms before the camera's.
    assert (np.percentile(overlaps["keyframe"], [0, 5, 50]) > [0.75, 0.92, 0.96]).all()
    # Intersection over union of what lies up to half a second from both keyframes.
    assert (np.percentile(overlaps["sweep"], [0, 5, 50]) > [0.5, 0.8, 0.93]).all()


def test_clips_with_sweeps(index):
    data = ClipDataset(
        index=index.path,
        image_size=(94, 310),
        num_frames=5,
        frame_interval=0.1,
        drop_incomplete=True,
    )
    coverage = measure_coverage(data.clips)
    # A camera has no gap, and clips that begin too close to a scene's end are left out.
    assert (coverage.fraction, coverage.skipped_T.sum()) == (1.0, 0)
    rows = data.rows(0)
    times = index.frames.timestamp[rows]
    assert (np.abs(np.diff(times, axis=0) - 103_257) < 1000).all()
    # Without sweeps in between, a step is a keyframe.
    with pytest.raises(
        ValueError, match=r"0\.103 s apart \(median\): set frame_interval=0\.103, or None"
    ):
        ClipDataset(index=index.path, image_size=(94, 310), num_frames=2, frame_interval=0.03)


def test_lidar_points_are_where_boxes_are(index):
    """As many returns lie in a box of the image, at the object's depth, as its 3-D box holds."""
    data = ClipDataset(
        index=index.path, image_size=(375, 1242), cameras=["CAM_FRONT"], lidar_points=100_000
    )
    fractions = []
    for item in range(0, len(data), 5):
        row = int(data.rows(item)[0, 0])
        points = data.load(data.rows(item), seed=0).points_BTNP3[0, 0, 0].numpy()
        points = points[np.isfinite(points[:, 2])]
        assert len(points) > 1000
        seen = frame_boxes(index, np.array([row]), keep_unlabelled=True)
        for box, number, cut in zip(seen.boxes, seen.box, seen.truncation, strict=True):
            if index.boxes.lidar_points[number] < 20 or cut > 0.01:
                continue
            depths = _nearest_depth(index, row, number)
            on = ((points[:, :2] >= box[:2]) & (points[:, :2] <= box[2:])).all(axis=1)
            on &= (points[:, 2] >= depths.min() - 0.3) & (points[:, 2] <= depths.max() + 0.3)
            # The scans here have every eighth of the returns that were counted.
            fractions.append(on.sum() / (index.boxes.lidar_points[number] / 8))
    # None is missing; the street below the object and what is beside it are in the box too.
    assert len(fractions) >= 20
    assert min(fractions) > 0.8
    assert max(fractions) < 3
