"""The converter of KITTI raw, on a drive with the calibration of 2011_09_26 and made-up content."""

import cv2
import numpy as np
import pytest

import drivemim
import kitti_to_index
from drivemim.data.boxes.ground_truth import frame_boxes
from drivemim.data.clips.clip_dataset import ClipDataset

CAM_TO_CAM = """calib_time: 09-Jan-2012 13:57:47
R_rect_00: 9.999239e-01 9.837760e-03 -7.445048e-03 -9.869795e-03 9.999421e-01 -4.278459e-03 \
7.402527e-03 4.351614e-03 9.999631e-01
S_rect_02: 1.242000e+03 3.750000e+02
P_rect_02: 7.215377e+02 0.000000e+00 6.095593e+02 4.485728e+01 0.000000e+00 7.215377e+02 \
1.728540e+02 2.163791e-01 0.000000e+00 0.000000e+00 1.000000e+00 2.745884e-03
S_rect_03: 1.242000e+03 3.750000e+02
P_rect_03: 7.215377e+02 0.000000e+00 6.095593e+02 -3.395242e+02 0.000000e+00 7.215377e+02 \
1.728540e+02 2.199936e+00 0.000000e+00 0.000000e+00 1.000000e+00 2.729905e-03
"""
IMU_TO_VELO = """calib_time: 25-May-2012 16:47:16
R: 9.999976e-01 7.553071e-04 -2.035826e-03 -7.854027e-04 9.998898e-01 -1.482298e-02 2.024406e-03 \
1.482454e-02 9.998881e-01
T: -8.086759e-01 3.195559e-01 -7.997231e-01
"""
VELO_TO_CAM = """calib_time: 15-Mar-2012 11:37:16
R: 7.533745e-03 -9.999714e-01 -6.166020e-04 1.480249e-02 7.280733e-04 -9.998902e-01 9.998621e-01 \
7.523790e-03 1.480755e-02
T: -4.069766e-03 -7.631618e-02 -2.717806e-01
"""
FIRST = 1317042272 * 10**6
"""2011-09-26 13:04:32, microseconds."""
TRACKLETS = """<?xml version="1.0"?><boost_serialization><tracklets><count>1</count>
<item_version>1</item_version><item><objectType>Van</objectType><h>1.5</h><w>1.6</w><l>4.2</l>
<first_frame>1</first_frame><poses><count>2</count><item_version>2</item_version>
<item><tx>12</tx><ty>2.5</ty><tz>-1.6</tz><rx>0</rx><ry>0</ry><rz>0.4</rz></item>
<item><tx>11</tx><ty>2.5</ty><tz>-1.6</tz><rx>0</rx><ry>0</ry><rz>0.4</rz></item>
</poses></item></tracklets></boost_serialization>
"""
POINT = np.array([12.0, 2.5, -1.6 + 0.75])
"""Centre of the van in the lidar's frame, at the second image."""


def _sensor(folder, suffix, offset, write):
    """Three files, 0.1 s apart, from ``offset`` microseconds after ``FIRST``."""
    (folder / "data").mkdir(parents=True)
    lines = []
    for number in range(3):
        lines.append(f"2011-09-26 13:04:32.{offset + 100_000 * number:06d}123")
        write(folder / "data" / f"{number:010d}{suffix}", number)
    (folder / "timestamps.txt").write_text("\n".join(lines) + "\n")


@pytest.fixture(scope="module")
def index(tmp_path_factory):
    date = tmp_path_factory.mktemp("kitti") / "2011_09_26"
    drive = date / "2011_09_26_drive_0009_sync"
    # 1e-5 degrees to the north and 2e-5 to the east from packet to packet; looking north-east.
    _sensor(drive / "oxts", ".txt", 10_000, lambda path, k: path.write_text(
        f"{49 + 1e-5 * k} {8.4 + 2e-5 * k} {116 + k} 0.02 -0.01 {np.pi / 4} 1 2 3"))  # fmt: skip
    for camera, level in (("02", 40), ("03", 80)):
        _sensor(drive / f"image_{camera}", ".png", 20_000, lambda path, k, level=level: cv2.imwrite(
            str(path), np.full((375, 1242, 3), level + k, np.uint8)))  # fmt: skip
    points = np.array([[*POINT, 0.3]], np.float32)
    _sensor(drive / "velodyne_points", ".bin", 15_000, lambda path, k: points.tofile(path))
    (drive / "tracklet_labels.xml").write_text(TRACKLETS)
    for name, text in (("cam_to_cam", CAM_TO_CAM), ("imu_to_velo", IMU_TO_VELO),
                       ("velo_to_cam", VELO_TO_CAM)):  # fmt: skip
        (date / f"calib_{name}.txt").write_text(text)
    kitti_to_index.main(date, date / "kitti.arrow")
    return drivemim.open_index(date / "kitti.arrow")


def test_the_mounts_are_those_of_another_conversion(index):
    """Of the same calibration, with the ego at the inertial sensor, 0.93 m above the ground."""
    assert index.cameras == ("left", "right")
    rotation = np.array([0.5012884649, -0.4992086222, 0.4965727175, -0.5029077079])
    positions = [[1.0804994306, -0.2500445681, 0.7292838632], [1.0810242827, -0.7827397058,
                                                               0.7343057926]]  # fmt: skip
    for camera, position in enumerate(positions):
        mount = index.frames.camera_to_ego[index.frames.camera == camera][0]
        np.testing.assert_allclose(mount[:3], np.add(position, [0, 0, 0.93]), atol=1e-6)
        assert abs(mount[3:] @ rotation) == pytest.approx(1, abs=1e-9)
    np.testing.assert_allclose(index.frames.intrinsics[0, :2, 2], [609.5593, 172.8540])


def test_times_and_poses(index):
    assert index.frames.timestamp[:3].tolist() == [FIRST + 20_000 + 100_000 * k for k in range(3)]
    # 10 ms after a packet: a tenth of the way. A degree is 111,319.49 m; cos(49 deg) = 0.656059.
    move = index.frames.ego_to_global[1, :3] - index.frames.ego_to_global[0, :3]
    np.testing.assert_allclose(move, [2e-5 * 111319.49 * 0.656059, 1.1131949, 1], atol=1e-5)
    ahead = index.camera_to_global(0)[:3, 2]
    assert np.degrees(np.arctan2(ahead[1], ahead[0])) == pytest.approx(45, abs=1)


def test_a_tracklet_lies_where_the_development_kit_projects_it(index):
    """P_rect R_rect (R | T) of its centre in the lidar's frame."""
    R, T, R_rect, P = (
        np.array(line.split(":")[1].split(), float)
        for line in (VELO_TO_CAM.splitlines()[1], VELO_TO_CAM.splitlines()[2],
                     CAM_TO_CAM.splitlines()[1], CAM_TO_CAM.splitlines()[3])
    )  # fmt: skip
    seen = P.reshape(3, 4) @ [*(R_rect.reshape(3, 3) @ (R.reshape(3, 3) @ POINT + T)), 1]
    found = frame_boxes(index, np.array([1]))
    assert index.categories == ("van",)
    assert found.depth[0] == pytest.approx(seen[2], abs=1e-5)
    to_camera = np.linalg.inv(index.camera_to_global(1))
    point = index.frames.intrinsics[1] @ (to_camera @ [*index.boxes.center[0], 1])[:3]
    np.testing.assert_allclose(point[:2] / point[2], seen[:2] / seen[2], atol=1e-3)
    # The lidar point is the same point, 5 ms before the image.
    clip = ClipDataset(index=index.path, image_size=(375, 1242), lidar_points=9)[1]
    np.testing.assert_allclose(clip.points_BTNP3[0, 0, 0, 0, :2], seen[:2] / seen[2], atol=12)


def test_every_left_image_is_annotated(index):
    assert index.samples.timestamp.tolist() == index.frames.timestamp[:3].tolist()
    assert index.samples.box_count.tolist() == [0, 1, 1]
    assert index.frames.keyframe.all()
    assert len(index.tracks) == 1
    assert list(index.samples.lidar_path)[0].endswith("velodyne_points/data/0000000000.bin")
    assert index.info.lidar_values == 4
    assert index.boxes.size[0].tolist() == [1.6, 4.2, 1.5]
