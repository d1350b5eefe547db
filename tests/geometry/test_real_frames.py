"""The whole chain world -> ego -> camera -> image on real frames, against the devkit."""

import numpy as np
import pytest
from nuscenes import NuScenes
from nuscenes.scripts.export_2d_annotations_as_json import post_process_coords
from nuscenes.utils.geometry_utils import BoxVisibility, view_points

from drivemim.geometry import (
    box_corners,
    invert_pose,
    pose_matrix,
    project_boxes,
    transform_points,
)


def camera_frames(nusc):
    return [frame for frame in nusc.sample_data if frame["channel"].startswith("CAM")]


def project(nusc, frame):
    """Corners in the camera and projected boxes of a frame, by our own chain."""
    annotations = [
        nusc.get("sample_annotation", token)
        for token in nusc.get("sample", frame["sample_token"])["anns"]
    ]
    ego = nusc.get("ego_pose", frame["ego_pose_token"])
    camera = nusc.get("calibrated_sensor", frame["calibrated_sensor_token"])
    camera_to_global = pose_matrix(ego["translation"], ego["rotation"]) @ pose_matrix(
        camera["translation"], camera["rotation"]
    )
    corners = box_corners(
        *([row[key] for row in annotations] for key in ("translation", "size", "rotation"))
    )
    corners = transform_points(invert_pose(camera_to_global), corners)
    size = (frame["height"], frame["width"])
    return corners, project_boxes(corners, camera["camera_intrinsic"], size), annotations


@pytest.mark.parametrize("name", ["nuscenes-sample", "surround-clips"])
def test_real_boxes_are_the_devkits(real_data, name):
    nusc = NuScenes("v1.0-mini", str(real_data / name), verbose=False)
    in_front = 0
    for frame in camera_frames(nusc):
        corners, seen, _ = project(nusc, frame)
        _, boxes, intrinsics = nusc.get_sample_data(frame["token"], BoxVisibility.NONE)
        assert len(boxes) == len(corners)
        for row, box in enumerate(boxes):
            np.testing.assert_allclose(corners[row], box.corners().T, atol=1e-6)
            if box.corners()[2].min() <= 0.1:
                continue
            pixels = view_points(box.corners(), intrinsics, normalize=True)[:2].T.tolist()
            expected = post_process_coords(pixels, (frame["width"], frame["height"]))
            assert seen.in_image_M[row] == (expected is not None)
            if expected is not None:
                np.testing.assert_allclose(seen.boxes_M4[row], expected, atol=1e-4)
                in_front += 1
    assert in_front > 50
