"""Index synced drives of KITTI raw: python examples/kitti_to_index.py KITTI/2011_09_26 OUT.arrow.

The ego frame is on the ground below the inertial sensor (Geiger et al., KITTI, IJRR 2013).
"""

from collections import defaultdict
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
from scipy.spatial.transform import Rotation

import drivemim
from drivemim.arguments import run_with_paths

EARTH_RADIUS, IMU_HEIGHT = 6378137.0, 0.93  # metres


def main(date: Path, out: Path) -> None:
    """Index all drives of a date."""
    builder = drivemim.IndexBuilder(date, lidar_values=4)
    lenses = read_calibration(date / "calib_cam_to_cam.txt")
    velo, imu = (read_calibration(date / f"calib_{k}.txt") for k in ("velo_to_cam", "imu_to_velo"))
    imu_to_ego = rigid(np.eye(3), np.array([0, 0, IMU_HEIGHT]))
    velo_to_ego = imu_to_ego @ np.linalg.inv(rigid(imu["R"], imu["T"]))
    velo_to_first = rigid(lenses["R_rect_00"], np.zeros(3)) @ rigid(velo["R"], velo["T"])
    for drive in sorted(date.glob("*_drive_*_sync")):
        scene = builder.add_scene(drive.name)
        scene.add_poses(*read_poses(drive / "oxts"))
        for number, name in (("02", "left"), ("03", "right")):
            projection = lenses[f"P_rect_{number}"].reshape(3, 4)
            shift = np.linalg.solve(projection[:, :3], projection[:, 3])  # from the first camera
            mount = velo_to_ego @ np.linalg.inv(rigid(np.eye(3), shift) @ velo_to_first)
            size = [int(each) for each in lenses[f"S_rect_{number}"]]
            scene.add_camera(name, intrinsics=projection[:, :3], size=size, camera_to_ego=mount)
            for image, time in timed(drive / f"image_{number}"):
                scene.add_frame(name, image, time)
        scene.add_lidar(velo_to_ego)
        for scan, time in timed(drive / "velodyne_points"):
            scene.add_scan(scan, time)
        if (drive / "tracklet_labels.xml").exists():
            add_tracklets(scene, drive, velo_to_ego)
    print(builder.write(out))


def read_calibration(path: Path) -> dict[str, Any]:
    """Return the numbers of each ``NAME: NUMBERS`` line."""
    lines = (line.partition(":") for line in path.read_text().splitlines()[1:])
    return {name: np.array(numbers.split(), float) for name, _, numbers in lines}


def rigid(rotation: Any, translation: Any) -> Any:
    """Return the 4x4 matrix of a rotation and a translation."""
    return np.vstack([np.column_stack([rotation.reshape(3, 3), translation]), [0, 0, 0, 1]])


def timed(folder: Path) -> list[tuple[Path, int]]:
    """Return the files of a sensor with their times, microseconds."""
    files = sorted((folder / "data").glob("*"))
    lines = (folder / "timestamps.txt").read_text().replace(" ", "T").split() if files else []
    return [(file, int(np.datetime64(lines[int(file.stem)], "us").astype(int))) for file in files]


def read_poses(folder: Path) -> tuple[Any, Any]:
    """Return times and ego poses: Mercator's projection, relative to the first position."""
    files = timed(folder)
    packets = np.array([np.loadtxt(file)[:6] for file, _ in files])
    latitude, longitude = np.radians(packets[:, :2]).T
    scale = np.cos(latitude[0]) * EARTH_RADIUS
    north = scale * np.log(np.tan(np.pi / 4 + latitude / 2))
    poses = np.tile(np.eye(4), (len(files), 1, 1))
    poses[:, :3, 3] = np.stack([scale * longitude, north, packets[:, 2]], axis=1)
    poses[:, :3, 3] -= poses[0, :3, 3].copy()
    poses[:, :3, :3] = Rotation.from_euler("xyz", packets[:, 3:]).as_matrix()  # roll, pitch, yaw
    poses[:, :3, 3] -= IMU_HEIGHT * poses[:, :3, 2]
    times, rows = np.unique([time for _, time in files], return_index=True)
    return times, poses[rows]


def add_tracklets(scene: drivemim.RecordedScene, drive: Path, velo_to_ego: Any) -> None:
    """Add the boxes at the time of every left image; tracklets are in the lidar's frame."""
    boxes = defaultdict(list)
    root = ElementTree.parse(drive / "tracklet_labels.xml").getroot()
    for track, item in enumerate(root.findall("tracklets/item")):
        kind, first = item.findtext("objectType", "").lower(), int(item.findtext("first_frame", ""))
        height, width, length = (float(item.findtext(each, "")) for each in "hwl")
        for step, pose in enumerate(item.findall("poses/item")):
            x, y, z, yaw = (float(pose.findtext(each, "")) for each in ("tx", "ty", "tz", "rz"))
            box_3d = (x, y, z + height / 2), (width, length, height), yaw
            boxes[first + step].append((track, kind, *box_3d))
    for image, time in timed(drive / "image_02"):
        names = ("tracks", "categories", "centers", "sizes", "rotations")
        columns: Any = dict(zip(names, zip(*boxes[int(image.stem)], strict=True), strict=False))
        scene.add_boxes(time, **columns, frame=scene.pose_at(time) @ velo_to_ego)


if __name__ == "__main__":
    run_with_paths(main, __doc__)
