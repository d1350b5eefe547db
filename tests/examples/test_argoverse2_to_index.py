"""The converter of Argoverse 2, on a log that is small enough to compute by hand."""

import cv2
import numpy as np
import pyarrow as pa
import pytest
from pyarrow import feather
from scipy.spatial.transform import Rotation

import argoverse2_to_index
import drivemim
from drivemim.data.boxes.ground_truth import frame_boxes

START = 315_967_376_959_702_000
"""Nanoseconds."""
STEP = 50_000_000
MOUNTS = {
    "ring_front_center": ([1.64, 0.0, 1.41], [0.5, -0.5, 0.5, -0.5]),
    "ring_rear_left": ([1.1, 0.2, 1.4], [0.5, -0.5, -0.5, 0.5]),
}
HEADINGS = [0.5, 0.6, 0.7]
POSITIONS = [[1000.0, 2000.0, 10.0], [1000.4, 2000.3, 10.0], [1000.8, 2000.6, 10.1]]


def _quaternion(yaw):
    return [np.cos(yaw / 2), 0.0, 0.0, np.sin(yaw / 2)]


def _write(path, rows):
    path.parent.mkdir(parents=True, exist_ok=True)
    feather.write_feather(pa.Table.from_pylist(rows), str(path))


def _pose(translation, rotation):
    return {
        **dict(zip(("qw", "qx", "qy", "qz"), rotation, strict=True)),
        **dict(zip(("tx_m", "ty_m", "tz_m"), translation, strict=True)),
    }


@pytest.fixture(scope="module")
def index(tmp_path_factory):
    logs = tmp_path_factory.mktemp("argoverse")
    log = logs / "00a6ffc1"
    _write(log / "city_SE3_egovehicle.feather", [
        {"timestamp_ns": START + STEP * k, **_pose(POSITIONS[k], _quaternion(HEADINGS[k]))}
        for k in range(3)])  # fmt: skip
    _write(log / "calibration" / "egovehicle_SE3_sensor.feather", [
        {"sensor_name": name, **_pose(*mount)} for name, mount in MOUNTS.items()])  # fmt: skip
    _write(log / "calibration" / "intrinsics.feather", [
        {"sensor_name": name, "fx_px": 400.0, "fy_px": 401.0, "cx_px": 160.0, "cy_px": 96.0,
         "k1": -0.24, "k2": -0.21, "k3": 0.33, "height_px": 192, "width_px": 320}
        for name in MOUNTS])  # fmt: skip
    for number, name in enumerate(MOUNTS):
        folder = log / "sensors" / "cameras" / name
        folder.mkdir(parents=True)
        for k in range(3):
            image = np.full((192, 320, 3), 50 * number + k, np.uint8)
            cv2.imwrite(str(folder / f"{START + STEP * k}.jpg"), image)
    box = {"length_m": 4.0, "width_m": 2.0, "height_m": 1.5, **_pose([12, 1.5, 0.8], [1, 0, 0, 0])}
    walker = {"length_m": 0.5, "width_m": 0.6, "height_m": 1.8,
              **_pose([-8, -1, 1.0], _quaternion(0.3))}  # fmt: skip
    _write(log / "annotations.feather", [
        {"timestamp_ns": START, "track_uuid": "a", "category": "REGULAR_VEHICLE",
         "num_interior_pts": 40, **box},
        {"timestamp_ns": START + 2 * STEP, "track_uuid": "a", "category": "REGULAR_VEHICLE",
         "num_interior_pts": 30, **box},
        {"timestamp_ns": START + 2 * STEP, "track_uuid": "b", "category": "PEDESTRIAN",
         "num_interior_pts": 5, **walker}])  # fmt: skip
    argoverse2_to_index.main(logs, logs / "av2.arrow")
    return drivemim.open_index(logs / "av2.arrow")


def test_cameras_and_times(index):
    assert list(index.scenes.name) == ["00a6ffc1"]
    assert index.cameras == tuple(MOUNTS)
    assert index.frames.timestamp.tolist() == 2 * [(START + STEP * k) // 1000 for k in range(3)]
    for row in range(6):
        translation, rotation = list(MOUNTS.values())[row // 3]
        assert index.frames.camera_to_ego[row].tolist() == [*translation, *rotation]
        expected = [*POSITIONS[row % 3], *_quaternion(HEADINGS[row % 3])]
        np.testing.assert_array_equal(index.frames.ego_to_global[row], expected)


def test_boxes_are_in_the_city(index):
    turn = Rotation.from_euler("z", HEADINGS[2])
    expected = turn.apply([[12, 1.5, 0.8], [-8, -1, 1.0]]) + POSITIONS[2]
    np.testing.assert_allclose(index.boxes.center[1:], expected, atol=1e-9)
    yaw = 2 * np.arctan2(index.boxes.rotation[:, 3], index.boxes.rotation[:, 0])
    np.testing.assert_allclose(yaw, [HEADINGS[0], HEADINGS[2], HEADINGS[2] + 0.3])
    assert index.boxes.size.tolist() == [[2, 4, 1.5], [2, 4, 1.5], [0.6, 0.5, 1.8]]
    assert [index.categories[each] for each in index.boxes.category] == ["car", "car", "pedestrian"]
    assert index.boxes.lidar_points.tolist() == [40, 30, 5]
    assert len(index.tracks) == 2


def test_boxes_lie_on_their_pixels(index):
    """A car 12 m ahead and 1.5 m to the left of the ego, in the front camera at (1.64, 0, 1.41)."""
    found = frame_boxes(index, np.array([0]))
    near, far = 10 - 1.64, 14 - 1.64
    expected = [
        160 - 400 * 2.5 / near, 96 + 401 * (1.41 - 1.55) / near,
        160 - 400 * 0.5 / far, 96 + 401 * (1.41 - 0.05) / near,
    ]  # fmt: skip
    np.testing.assert_allclose(found.boxes[0], expected, atol=1e-6)
    assert index.frames.keyframe.tolist() == 2 * [True, False, True]
    (behind,) = frame_boxes(index, np.array([5])).label
    assert behind == 0  # the pedestrian, in the rear camera
