"""The official evaluation accepts the town's ground truth as a perfect result."""

import json

import numpy as np
from nuscenes.eval.common.config import config_factory
from nuscenes.eval.detection.evaluate import DetectionEval
from nuscenes.eval.detection.utils import category_to_detection_name


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


def test_ground_truth_scores_perfectly(devkit, tmp_path):
    path = tmp_path / "results.json"
    meta = {f"use_{kind}": kind == "camera" for kind in ("camera", "lidar", "radar", "map")}
    meta["use_external"] = False
    results = ground_truth_results(devkit, "scene-0103")
    path.write_text(json.dumps({"meta": meta, "results": results}))
    evaluation = DetectionEval(
        devkit,
        config_factory("detection_cvpr_2019"),
        str(path),
        "mini_val",
        str(tmp_path / "out"),
        verbose=False,
    )
    counts = {}
    for boxes in evaluation.gt_boxes.boxes.values():
        for box in boxes:
            counts[box.detection_name] = counts.get(box.detection_name, 0) + 1
    metrics, _ = evaluation.evaluate()
    summary = metrics.serialize()
    assert {"car", "pedestrian", "truck", "bicycle"} <= set(counts)
    assert counts["pedestrian"] > 40
    for name in counts:
        assert summary["mean_dist_aps"][name] > 0.99, name
        errors = summary["label_tp_errors"][name]
        for kind in ("trans_err", "scale_err", "orient_err", "vel_err", "attr_err"):
            assert np.isnan(errors[kind]) or errors[kind] < 1e-3, (name, kind)
    expected = len(counts) / 10  # the mean runs over ten classes; absent ones count as 0
    assert abs(summary["mean_ap"] - expected) < 0.01
    assert summary["nd_score"] > expected / 2
