"""FrameDetection3D against the devkit, on the small data set."""

import copy

import numpy as np
import pytest
from nuscenes.utils.geometry_utils import BoxVisibility
from pyquaternion import Quaternion

from drivemim.data.classes import ATTRIBUTES, DETECTION_CLASSES
from drivemim.data.clips.sampler import SeededDataset
from drivemim.data.detection.detection3d_dataset import FrameDetection3D
from drivemim.data.index.builders.frames import build_frames_index
from drivemim.data.index.builders.nuscenes import build_nuscenes_index
from drivemim.errors import ConfigError
from drivemim.geometry import boxes_to_global, pose_matrix
from drivemim.geometry.camera_boxes import CameraBoxes

FILTERS = {"min_points": 1}


@pytest.fixture
def dataset(small_index):
    return FrameDetection3D(index=small_index, filters=FILTERS)


def boxes_of(instances):
    def column(key, width):
        return np.array([each[key] for each in instances], float).reshape(-1, *width)

    return CameraBoxes(
        centers_M3=column("center", (3,)),
        sizes_M3=column("size", (3,)),
        yaws_M=column("yaw", ()),
        velocities_M2=column("velocity", (2,)),
    )


def test_items_are_the_devkits_keyframes(dataset, small_devkit):
    keyframes = [
        row
        for row in small_devkit.sample_data
        if row["is_key_frame"] and row["channel"].startswith("CAM")
    ]
    assert len(dataset) == len(keyframes) == 9
    seen = 0
    for info in map(dataset.get_data_info, range(len(dataset))):
        frame = small_devkit.get("sample_data", info["frame_token"])
        assert info["sample_token"] == frame["sample_token"]
        _, boxes, intrinsics = small_devkit.get_sample_data(info["frame_token"], BoxVisibility.NONE)
        np.testing.assert_allclose(info["camera_matrix"], intrinsics)
        ego = small_devkit.get("ego_pose", frame["ego_pose_token"])
        mount = small_devkit.get("calibrated_sensor", frame["calibrated_sensor_token"])
        pose = pose_matrix(ego["translation"], ego["rotation"]) @ pose_matrix(
            mount["translation"], mount["rotation"]
        )
        np.testing.assert_allclose(info["camera_to_global"], pose)
        centers = np.array([box.center for box in boxes])
        for instance in info["instances"]:
            near = int(np.argmin(np.linalg.norm(centers - instance["center"], axis=1)))
            np.testing.assert_allclose(instance["center"], centers[near], atol=1e-6)
            annotation = small_devkit.get("sample_annotation", boxes[near].token)
            assert instance["size"] == annotation["size"]
            _, _, rotation, velocity = boxes_to_global(boxes_of([instance]), pose)
            assert (
                Quaternion.absolute_distance(
                    Quaternion(rotation[0]), Quaternion(annotation["rotation"])
                )
                < 1e-6
            )
            wanted = small_devkit.box_velocity(annotation["token"])[:2]
            np.testing.assert_allclose(velocity[0], wanted, atol=1e-6)
            seen += 1
    assert seen >= 12


def test_classes_attributes_and_points(dataset, small_index):
    instances = [
        each for row in range(len(dataset)) for each in dataset.get_data_info(row)["instances"]
    ]
    assert dataset.metainfo["classes"] == DETECTION_CLASSES
    assert len(dataset.metainfo["palette"]) == 10
    by_class = {DETECTION_CLASSES[each["bbox_label"]]: each for each in instances}
    assert set(by_class) == {"car", "pedestrian", "truck", "bicycle"}
    assert ATTRIBUTES[by_class["car"]["attribute"]] == "vehicle.moving"
    assert ATTRIBUTES[by_class["truck"]["attribute"]] == "vehicle.parked"
    assert ATTRIBUTES[by_class["pedestrian"]["attribute"]] == "pedestrian.standing"
    assert by_class["bicycle"]["attribute"] == -1  # annotated without one
    assert not any(each["ignore_flag"] for each in instances)

    # The small data set has 7 + step lidar returns and one radar return in every box.
    strict = FrameDetection3D(index=small_index, filters={"min_points": 9})
    flags = {}
    for row in range(len(strict)):
        info = strict.get_data_info(row)
        step = int(info["sample_token"].rsplit("-", 1)[1])
        flags.setdefault(step, set()).update(each["ignore_flag"] for each in info["instances"])
    assert flags == {0: {1}, 1: {0}, 2: {0}}


def test_an_attribute_that_the_class_cannot_have_is_none(tables, write, tmp_path):
    for row in tables["sample_annotation"]:
        if "-cyclist-" in row["token"]:
            row["attribute_tokens"] = ["att-vehicle.moving"]
    index = build_nuscenes_index(write(tables), "v1.0-mini", tmp_path / "index.arrow")
    dataset = FrameDetection3D(index=index, filters=FILTERS)
    found = {
        each["attribute"]
        for row in range(len(dataset))
        for each in dataset.get_data_info(row)["instances"]
        if DETECTION_CLASSES[each["bbox_label"]] == "bicycle"
    }
    assert found == {-1}


def test_objects_excluded_from_the_official_evaluation_are_ignored(small_index, monkeypatch):
    ranges = dict.fromkeys(DETECTION_CLASSES, 9.0)
    monkeypatch.setattr("drivemim.data.detection.detection3d_dataset.CLASS_RANGES", ranges)
    dataset = FrameDetection3D(index=small_index, filters=FILTERS)
    everything = FrameDetection3D(index=small_index, filters=FILTERS, within_class_range=False)
    seen = set()
    for row in range(len(dataset)):
        for near, every in zip(
            dataset.get_data_info(row)["instances"],
            everything.get_data_info(row)["instances"],
            strict=True,
        ):
            assert near["ignore_flag"] == (near["distance"] >= 9.0)
            assert not every["ignore_flag"]
            seen.add(near["ignore_flag"])
    assert seen == {0, 1}
    behind = FrameDetection3D(index=small_index, filters=FILTERS, min_depth=1000.0, test_mode=True)
    flags = [
        each["ignore_flag"]
        for row in range(len(behind))
        for each in behind.get_data_info(row)["instances"]
    ]
    assert flags == [1] * len(flags)
    assert len(flags) >= 12


def test_metainfo_has_the_selection(small_index, small_root):
    whole = FrameDetection3D(
        index=small_index, filters={}, scenes="mini_val", cameras=["CAM_FRONT"]
    )
    chosen = whole.metainfo["nuscenes"]
    assert chosen == {
        "index": str(small_index),
        "data_root": str(small_root),
        "scenes": ["scene-0103"],
        "whole": True,
    }
    assert SeededDataset(dataset=whole).metainfo["nuscenes"] == chosen
    part = whole.get_subset(2)
    assert len(part) == 2
    assert not part.metainfo["nuscenes"]["whole"]
    assert whole.metainfo["nuscenes"]["whole"]
    first = FrameDetection3D(index=small_index, filters={}, indices=1)
    assert not first.metainfo["nuscenes"]["whole"]
    few = FrameDetection3D(index=small_index, filters={}, scenes="mini_val", label_fraction=0.3)
    assert len(few) < len(FrameDetection3D(index=small_index, filters={}, scenes="mini_val"))
    assert not few.metainfo["nuscenes"]["whole"]
    lazy = FrameDetection3D(index=small_index, filters={}, lazy_init=True)
    assert len(copy.deepcopy(lazy)) == 9


def test_impossible_values_are_refused(small_index, small_root, tmp_path):
    with pytest.raises(ConfigError, match="keyframes only"):
        FrameDetection3D(index=small_index, filters={}, keyframes_only=False)
    build_frames_index([small_root / "samples" / "CAM_FRONT"], tmp_path / "frames.arrow")
    with pytest.raises(ValueError, match="no measured calibration"):
        FrameDetection3D(index=tmp_path / "frames.arrow", filters={})
    with pytest.raises(ValueError, match="maps to 'lorry', which is none of"):
        FrameDetection3D(
            index=small_index, filters={}, class_map={"vehicle.car": "lorry"}
        ).get_data_info(0)
