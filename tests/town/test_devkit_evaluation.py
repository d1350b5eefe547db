"""The official evaluation accepts the town's ground truth as a perfect result."""

import json
from collections import Counter, defaultdict

import numpy as np
import pytest
from nuscenes.eval.common.config import config_factory
from nuscenes.eval.detection.evaluate import DetectionEval
from nuscenes.eval.detection.utils import category_to_detection_name
from nuscenes.nuscenes import NuScenes
from nuscenes.utils.splits import create_splits_scenes

from drivemim.data.classes import DETECTION_CLASSES
from drivemim.town import generate_town


def ground_truth_results(devkit, scene_name):
    results = {}
    for sample in devkit.sample:
        if devkit.get("scene", sample["scene_token"])["name"] != scene_name:
            continue
        boxes = []
        for name in sample["anns"]:
            row = devkit.get("sample_annotation", name)
            if row["num_lidar_pts"] == 0:
                continue  # the evaluation drops such ground truth, so a hit would count as false
            velocity = np.nan_to_num(devkit.box_velocity(name)[:2])
            attributes = [devkit.get("attribute", key)["name"] for key in row["attribute_tokens"]]
            boxes.append(
                {
                    "sample_token": sample["token"],
                    "translation": row["translation"],
                    "size": row["size"],
                    "rotation": row["rotation"],
                    "velocity": velocity.tolist(),
                    "detection_name": category_to_detection_name(row["category_name"]),
                    "detection_score": 1.0,
                    "attribute_name": attributes[0] if attributes else "",
                }
            )
        results[sample["token"]] = boxes
    return results


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    """Both scenes of mini_val and the training scenes that come before them, few in each."""
    root = generate_town(
        tmp_path_factory.mktemp("small") / "data",
        scenes=6,
        seconds=1.0,
        sweep_rate=2.0,
        image_size=(90, 160),  # on fewer pixels, rounding decides whether 40 % of a far car is seen
        workers=1,
        pedestrians=10,
        vehicles=10,
    )
    return NuScenes("v1.0-mini", str(root), verbose=False)


def evaluate(devkit, split, folder):
    """The official evaluation of ground truth written straight to a results file."""
    scenes = create_splits_scenes()[split]
    meta = {f"use_{kind}": kind == "camera" for kind in ("camera", "lidar", "radar", "map")}
    meta["use_external"] = False
    results = {}
    for scene in devkit.scene:
        if scene["name"] in scenes:
            results.update(ground_truth_results(devkit, scene["name"]))
    path = folder / "results.json"
    path.write_text(json.dumps({"meta": meta, "results": results}))
    config = config_factory("detection_cvpr_2019")
    evaluation = DetectionEval(devkit, config, str(path), split, str(folder / "out"), verbose=False)
    return evaluation


def count_by_scene(devkit, boxes):
    """Boxes of every class left by the official filters, by scene."""
    counts = defaultdict(Counter)
    for name in boxes.sample_tokens:
        scene = devkit.get("scene", devkit.get("sample", name)["scene_token"])["name"]
        counts[scene].update(box.detection_name for box in boxes[name])
    return counts


def test_ground_truth_scores_perfectly_in_all_ten_classes(small, tmp_path):
    evaluation = evaluate(small, "mini_val", tmp_path)
    counts = count_by_scene(small, evaluation.gt_boxes)
    assert set(counts) == {"scene-0103", "scene-0916"}
    for scene, found in counts.items():
        assert set(found) == set(DETECTION_CLASSES), scene
    metrics, _ = evaluation.evaluate()
    summary = metrics.serialize()
    for name in DETECTION_CLASSES:
        assert summary["mean_dist_aps"][name] > 0.999, name
        errors = summary["label_tp_errors"][name]
        for kind in ("trans_err", "scale_err", "orient_err", "vel_err", "attr_err"):
            assert np.isnan(errors[kind]) or errors[kind] < 1e-3, (name, kind)
    assert summary["mean_ap"] == pytest.approx(1.0, abs=1e-3)
    assert summary["nd_score"] > 0.99


def test_every_scene_shows_some_camera_every_class_within_its_range(devkit, small):
    ranges = config_factory("detection_cvpr_2019").class_range
    for kit in (devkit, small):
        for scene in kit.scene:
            seen = set()
            for sample in kit.sample:
                if sample["scene_token"] != scene["token"]:
                    continue
                pose = kit.get("sample_data", sample["data"]["LIDAR_TOP"])["ego_pose_token"]
                here = np.array(kit.get("ego_pose", pose)["translation"])
                for name in sample["anns"]:
                    row = kit.get("sample_annotation", name)
                    distance = np.linalg.norm((row["translation"] - here)[:2])
                    kind = category_to_detection_name(row["category_name"])
                    visible = row["visibility_token"] != "1"  # 40 % or more
                    if visible and row["num_lidar_pts"] > 0 and distance < ranges[kind]:
                        seen.add(kind)
            assert seen == set(DETECTION_CLASSES), scene["name"]
