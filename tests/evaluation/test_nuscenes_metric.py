"""NuScenesDetection: ground truth through cameras scores the same as ground truth in a file."""

import json
import math

import numpy as np
import pytest
import torch
from mmengine.evaluator import Evaluator
from nuscenes import NuScenes
from nuscenes.eval.common.config import config_factory
from nuscenes.eval.detection.data_classes import DetectionMetrics
from nuscenes.eval.detection.evaluate import DetectionEval
from nuscenes.eval.detection.utils import category_to_detection_name

from drivemim.data.classes import DETECTION_CLASSES
from drivemim.data.detection.detection3d_dataset import FrameDetection3D
from drivemim.data.index.builders.nuscenes import build_nuscenes_index
from drivemim.errors import ConfigError, DataError
from drivemim.evaluation import NuScenesDetection
from drivemim.evaluation.nuscenes_devkit import (
    NuScenesScores,
    devkit_metric_names,
    devkit_to_metrics_dict,
    format_scores,
)
from drivemim.evaluation.nuscenes_metric import global_boxes
from drivemim.town import generate_town

ERRORS = {"mATE": "trans_err", "mASE": "scale_err", "mAOE": "orient_err", "mAVE": "vel_err",
          "mAAE": "attr_err"}  # fmt: skip


@pytest.fixture(scope="module")
def town(tmp_path_factory):
    """Two scenes of a second and a half; scene-0103 is all of mini_val here."""
    folder = tmp_path_factory.mktemp("town")
    return generate_town(
        folder / "data", scenes=2, seconds=1.5, sweep_rate=4.0, image_size=(90, 160), workers=1
    )


@pytest.fixture(scope="module")
def index(town):
    return build_nuscenes_index(town, "v1.0-mini", town.parent / "index.arrow")


def make_dataset(index, **settings):
    return FrameDetection3D(
        index=index,
        # Objects without points are no official ground truth, and would be found in vain.
        filters={"min_points": 1},
        within_class_range=False,
        min_depth=-math.inf,
        **settings,
    )


def perfect(info):
    """A data sample whose predictions are its annotations, as an evaluator is given it."""
    instances = [each for each in info["instances"] if not each["ignore_flag"]]

    def column(key, *shape):
        values = np.array([each[key] for each in instances]).reshape(-1, *shape)
        return torch.from_numpy(values)

    predicted = {
        "scores": torch.ones(len(instances)),
        "labels": column("bbox_label").long(),
        "centers": column("center", 3),
        "sizes": column("size", 3),
        "yaws": column("yaw"),
        "velocities": column("velocity", 2),
        "attributes": column("attribute").long(),
    }
    keys = ("sample_token", "frame_token", "camera_to_global")
    return {**{key: info[key] for key in keys}, "pred_instances": predicted}


def score(dataset, rows=None, change=lambda sample: sample, **settings):
    metric = NuScenesDetection(**settings)
    evaluator = Evaluator([metric])
    evaluator.dataset_meta = dataset.metainfo
    rows = range(len(dataset)) if rows is None else rows
    for row in rows:
        metric.process(None, [change(perfect(dataset.get_data_info(row)))])
    return evaluator.evaluate(len(list(rows)))


def seen_annotations(nusc, dataset):
    """Tokens of the annotations that some image of the data set shows."""
    tokens = set()
    for row in range(len(dataset)):
        found = dataset._boxes(dataset.rows[[row]])
        boxes = found.box[found.lidar_points + found.radar_points > 0]
        tokens.update(dataset.index.boxes.token[box] for box in boxes)
    return tokens


def straight_to_file(nusc, split_samples, seen, path):
    """Annotations as the results file of a detector that saw just these."""
    attributes = {row["token"]: row["name"] for row in nusc.attribute}
    results = {token: [] for token in split_samples}
    for token in split_samples:
        for each in nusc.get("sample", token)["anns"]:
            row = nusc.get("sample_annotation", each)
            name = category_to_detection_name(row["category_name"])
            if name is None or each not in seen:
                continue
            results[token].append({
                "sample_token": token,
                "translation": row["translation"],
                "size": row["size"],
                "rotation": row["rotation"],
                "velocity": np.nan_to_num(nusc.box_velocity(each)[:2]).tolist(),
                "detection_name": name,
                "detection_score": 1.0,
                "attribute_name": "".join(attributes[one] for one in row["attribute_tokens"]),
            })  # fmt: skip
    meta = dict.fromkeys(["use_camera", "use_lidar", "use_radar", "use_map", "use_external"], True)
    path.write_text(json.dumps({"meta": meta, "results": results}))
    return path


def devkit_scores(nusc, path, split):
    evaluation = DetectionEval(
        nusc, config_factory("detection_cvpr_2019"), str(path), split, str(path.parent), False
    )
    metrics, _ = evaluation.evaluate()
    return metrics, evaluation


def compare(root, index, scenes, tmp_path):
    nusc = NuScenes("v1.0-mini", str(root), verbose=False)
    dataset = make_dataset(index, scenes=scenes)
    names = set(dataset.metainfo["nuscenes"]["scenes"])
    samples = [
        row["token"]
        for row in nusc.sample
        if nusc.get("scene", row["scene_token"])["name"] in names
    ]
    path = straight_to_file(nusc, samples, seen_annotations(nusc, dataset), tmp_path / "gt.json")
    wanted, evaluation = devkit_scores(nusc, path, scenes)
    found = score(dataset, out_dir=str(tmp_path / "out"))
    assert found["nuscenes/NDS"] == pytest.approx(wanted.nd_score, abs=1e-6)
    assert found["nuscenes/mAP"] == pytest.approx(wanted.mean_ap, abs=1e-6)
    for short, long in ERRORS.items():
        assert found[f"nuscenes/{short}"] == pytest.approx(wanted.tp_errors[long], abs=1e-6)
    for name, ap in wanted.mean_dist_aps.items():
        assert found[f"nuscenes/{name}_AP"] == pytest.approx(ap, abs=1e-6)
        count = sum(box.detection_name == name for box in evaluation.gt_boxes.all)
        assert found[f"nuscenes/{name}_count"] == count
    written = json.loads((tmp_path / "out" / "results_nusc.json").read_text())["results"]
    assert set(written) == set(samples)
    return found


def test_the_town_scores_what_its_annotations_do(town, index, tmp_path):
    found = compare(town, index, "mini_val", tmp_path)
    assert found["nuscenes/pedestrian_count"] > 10
    assert found["nuscenes/car_count"] > 5
    assert found["nuscenes/NDS_present"] > 0.99
    out = tmp_path / "out"
    summary = json.loads((out / "metrics_summary.json").read_text())
    assert summary["nd_score"] == pytest.approx(found["nuscenes/NDS"])
    assert summary["meta"]["use_camera"]
    assert (out / "metrics_details.json").is_file()
    assert not list((out / "plots").iterdir())


@pytest.mark.parametrize(
    ("name", "scenes"),
    [("nuscenes-sample", "mini_train"), ("surround-clips", "mini_train"),
     ("surround-clips", "mini_val")],
)  # fmt: skip
def test_real_frames_score_what_their_annotations_do(real_data, tmp_path, name, scenes):
    root = real_data / name
    index = build_nuscenes_index(root, "v1.0-mini", tmp_path / "index.arrow")
    found = compare(root, index, scenes, tmp_path)
    assert found["nuscenes/car_count"] > 3
    for error in ("mATE", "mASE", "mAOE"):
        assert found[f"nuscenes/{error}_present"] < 1e-6
    if name == "nuscenes-sample":  # all that counts is in some image
        assert found["nuscenes/mAP_present"] == pytest.approx(1)


def test_a_class_without_objects_counts_officially_and_not_among_the_present():
    rules = config_factory("detection_cvpr_2019")
    metrics = DetectionMetrics(rules)
    for name in DETECTION_CLASSES:
        here = name in ("car", "pedestrian")
        for distance in rules.dist_ths:
            metrics.add_label_ap(name, distance, 0.6 if here else 0.0)
        for error in ERRORS.values():
            metrics.add_label_tp(name, error, 0.25 if here else 1.0)
    counts = {**dict.fromkeys(DETECTION_CLASSES, 0), "car": 3, "pedestrian": 1}
    found = devkit_to_metrics_dict(metrics, counts)
    assert list(found) == devkit_metric_names()
    assert found["mAP"] == pytest.approx(0.12)
    assert found["mATE"] == pytest.approx(0.2 * 0.25 + 0.8)
    assert found["NDS"] == pytest.approx((5 * 0.12 + 5 * 0.15) / 10)
    assert found["mAP_present"] == pytest.approx(0.6)
    assert found["NDS_present"] == pytest.approx((5 * 0.6 + 5 * 0.75) / 10)
    assert (found["car_AP"], found["car_AOE"], found["car_count"]) == (0.6, 0.25, 3)
    nothing = devkit_to_metrics_dict(metrics, dict.fromkeys(DETECTION_CLASSES, 0))
    assert math.isnan(nothing["NDS_present"])
    text = format_scores(NuScenesScores(split="", samples=7, numbers=nothing))
    assert "7 samples (a selection that is not an official split)" in text


def test_order_repetition_and_padding_of_images_do_not_matter(index):
    dataset = make_dataset(index, scenes="mini_val")
    order = np.random.default_rng(0).permutation(len(dataset)).tolist()
    # With an overlap of 1 nothing is merged that would hide an image counted twice.
    for overlap in (0.2, 1.0):
        whole = score(dataset, overlap=overlap)
        again = score(dataset, rows=[*order, *order[:5]], overlap=overlap)
        assert again == pytest.approx(whole, nan_ok=True)


def test_a_subset_of_cameras_is_scored_on_every_sample(index, tmp_path):
    whole = make_dataset(index, scenes="mini_val")
    front = make_dataset(index, scenes="mini_val", cameras=["CAM_FRONT"])
    every, some = score(whole), score(front, out_dir=str(tmp_path))
    assert some["nuscenes/pedestrian_count"] == every["nuscenes/pedestrian_count"]
    assert 0 < some["nuscenes/mAP"] < every["nuscenes/mAP"]
    # The same as the other cameras' images without a detection.
    camera_of = {whole.get_data_info(row)["frame_token"]: whole.get_data_info(row)["camera"]
                 for row in range(len(whole))}  # fmt: skip

    def blind(sample):
        if camera_of[sample["frame_token"]] != "CAM_FRONT":
            empty = {key: values[:0] for key, values in sample["pred_instances"].items()}
            sample = {**sample, "pred_instances": empty}
        return sample

    assert score(whole, change=blind) == pytest.approx(some, nan_ok=True)


def test_a_selection_that_is_not_a_split(index, tmp_path):
    dataset = make_dataset(index, scenes="mini_val")
    sample = dataset.get_data_info(0)["sample_token"]
    rows = [row for row in range(len(dataset))
            if dataset.get_data_info(row)["sample_token"] == sample]  # fmt: skip
    found = score(dataset.get_subset(rows), out_dir=str(tmp_path))
    assert list(json.loads((tmp_path / "results_nusc.json").read_text())["results"]) == [sample]
    assert found["nuscenes/NDS_present"] > 0.9
    both = score(make_dataset(index))  # mini_train's and mini_val's scenes together
    assert both["nuscenes/car_count"] > found["nuscenes/car_count"]


def test_nothing_found_scores_nothing(index):
    def nothing(sample):
        empty = {key: values[:0] for key, values in sample["pred_instances"].items()}
        return {**sample, "pred_instances": empty}

    found = score(make_dataset(index, scenes="mini_val"), change=nothing)
    assert found["nuscenes/NDS"] == found["nuscenes/mAP"] == 0
    assert found["nuscenes/mATE"] == 1


def test_plots_are_the_devkits(index, tmp_path, monkeypatch):
    for slow in ("summary_plot", "class_pr_curve", "class_tp_curve"):
        monkeypatch.setattr(f"nuscenes.eval.detection.evaluate.{slow}", lambda *_, **__: None)
    score(make_dataset(index, scenes="mini_val"), out_dir=str(tmp_path), plots=True)
    names = {path.name for path in (tmp_path / "plots").iterdir()}
    assert names == {f"dist_pr_{distance}.pdf" for distance in (0.5, 1.0, 2.0, 4.0)}


def test_low_scores_are_left_out(index):
    dataset = make_dataset(index, scenes="mini_val")

    def doubtful(sample):
        sample["pred_instances"]["scores"] *= 0.1
        return sample

    assert score(dataset, change=doubtful)["nuscenes/mAP"] > 0
    assert score(dataset, change=doubtful, min_score=0.2)["nuscenes/mAP"] == 0


def test_broken_predictions_are_refused_by_sample_before_the_devkit(index, tmp_path, monkeypatch):
    dataset = make_dataset(index, scenes="mini_val")
    token = dataset.get_data_info(0)["sample_token"]
    devkit = "drivemim.evaluation.nuscenes_metric.evaluate_results"
    monkeypatch.setattr(devkit, lambda *_, **__: pytest.fail("the devkit ran"))

    def breaks(key, value):
        def change(sample):
            sample["pred_instances"][key][:1] = value
            return sample

        return change

    out = tmp_path / "out"
    with pytest.raises(DataError, match=f"sample {token}.* translation .* must be finite"):
        score(dataset, change=breaks("centers", math.nan), out_dir=str(out))
    with pytest.raises(DataError, match="size .* above 0"):
        score(dataset, change=breaks("sizes", -1.0), out_dir=str(out))
    with pytest.raises(DataError, match="detection_score"):
        score(dataset, change=breaks("scores", math.nan), out_dir=str(out))

    def in_camera_frame(sample):
        return {**sample, "camera_to_global": np.eye(4)[[2, 0, 1, 3]]}

    with pytest.raises(DataError, match="the boxes of sample .* from the vehicle at"):
        score(dataset, change=in_camera_frame, out_dir=str(out))
    assert not out.exists(), "nothing is left of refused results"


def test_wrong_set_ups_are_named(index, tmp_path):
    dataset = make_dataset(index, scenes="mini_val")
    sample = perfect(dataset.get_data_info(0))
    del sample["camera_to_global"]
    with pytest.raises(ConfigError, match="lack camera_to_global.*PackBoxes3D"):
        NuScenesDetection().process(None, [sample])
    metric = NuScenesDetection()
    metric.dataset_meta = {"classes": ("car",)}
    with pytest.raises(ConfigError, match="FrameDetection3D"):
        metric.compute_metrics([])
    with pytest.raises(ConfigError, match="overlap=3"):
        NuScenesDetection(overlap=3)
    with pytest.raises(ConfigError, match=r"min_score 30 must be in \[0, 1\]"):
        NuScenesDetection(min_score=30)
    # Only the images were copied, without the tables.
    moved = make_dataset(index, scenes="mini_val", data_root=tmp_path)
    with pytest.raises(DataError, match=r"needs the tables of v1\.0-mini"):
        score(moved)


def test_global_boxes_have_the_official_labels():
    predicted = {
        "scores": torch.ones(2), "labels": torch.tensor([1, 0]), "centers": torch.zeros(2, 3),
        "sizes": torch.ones(2, 3), "yaws": torch.zeros(2), "velocities": torch.zeros(2, 2),
        "attributes": torch.tensor([-1, -1]),
    }  # fmt: skip
    pose = [[1, 0, 0, 0], [0, 0, 1, 0], [0, -1, 0, 0], [0, 0, 0, 1]]  # looks along y
    found = global_boxes(predicted, pose, ("pedestrian", "car"))
    assert found.labels_M.tolist() == [
        DETECTION_CLASSES.index("car"), DETECTION_CLASSES.index("pedestrian"),
    ]  # fmt: skip
    none = {key: value[:0] for key, value in predicted.items()}
    assert global_boxes(none, pose, ("pedestrian", "car")).labels_M.dtype == np.int64


def test_labels_of_some_classes_in_another_order_are_the_official_ones(index, tmp_path):
    """Cars and pedestrians alone score for their classes what they score among the ten."""
    ten = score(make_dataset(index, scenes="mini_val"))
    two = score(make_dataset(index, scenes="mini_val", classes=("pedestrian", "car")))
    for name in ("pedestrian", "car"):
        assert two[f"nuscenes/{name}_AP"] == pytest.approx(ten[f"nuscenes/{name}_AP"])
        assert two[f"nuscenes/{name}_AP"] > 0.9
