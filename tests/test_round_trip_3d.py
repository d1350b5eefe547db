"""Ground truth through the whole 3-D chain, scored by the devkit.

The chain is data set, camera frame, the head's targets, decoding, suppression, merging of views and
results file. An error in any part of it would lower the score.
"""

import json

import numpy as np
import pytest
import torch
from mmengine.dataset import pseudo_collate
from mmengine.optim import build_optim_wrapper
from mmengine.registry import DATASETS, EVALUATOR, MODELS, init_default_scope
from nuscenes import NuScenes
from nuscenes.eval.common.config import config_factory
from nuscenes.eval.detection.evaluate import DetectionEval
from nuscenes.eval.detection.utils import category_to_detection_name
from oracle_outputs import oracle_outputs
from shipped_configs import STUDIES, config_name, runnable, small_config

from drivemim.config.loading import load_config
from drivemim.data.classes import DETECTION_CLASSES
from drivemim.data.clips.sampler import ItemRequest
from drivemim.data.index.builders.nuscenes import build_nuscenes_index
from drivemim.town import generate_town

ERRORS = {
    "mATE": "trans_err",
    "mASE": "scale_err",
    "mAOE": "orient_err",
    "mAVE": "vel_err",
    "mAAE": "attr_err",
}


@pytest.fixture(scope="module")
def town(tmp_path_factory):
    """Index of one short scene of the official validation split, and one to train on."""
    folder = tmp_path_factory.mktemp("town")
    root = generate_town(
        folder / "data",
        scenes=2,
        seconds=1.5,
        sweep_rate=4.0,
        image_size=(225, 400),
        workers=1,
    )
    return build_nuscenes_index(root, "v1.0-mini", folder / "town.arrow")


@pytest.fixture(scope="module")
def config():
    return load_config(STUDIES / "detection3d/fcos3d_vit_micro_town.py")


def frames_of(config, index, scenes, **others):
    """Build the config's data set with all objects that the official evaluation counts."""
    init_default_scope("mmdet")
    settings = config.test_dataloader.dataset.to_dict()
    settings.update(index=str(index), scenes=scenes, filters=dict(min_points=1), **others)
    return DATASETS.build(settings)


def perfect_predictions(config, frames):
    """Predict with the config's head from the outputs of a perfect network."""
    head = MODELS.build({**config.model.bbox_head, "test_cfg": config.model.test_cfg})
    for frame in frames:
        sample = pseudo_collate([frame])["data_samples"][0]
        sample.gt_instances.bboxes = sample.gt_instances.bboxes.tensor
        sample.ignored_instances.bboxes = sample.ignored_instances.bboxes.tensor
        height, width = sample.img_shape
        sizes = [(-(-height // stride), -(-width // stride)) for stride in head.strides]
        outputs = oracle_outputs(head, [sample], sizes)
        sample.pred_instances = head.predict_by_feat(*outputs, [sample.metainfo], rescale=True)[0]
        yield sample.to_dict()


def score(config, frames, samples, **settings):
    metric = {**config.test_evaluator, **settings}
    evaluator = EVALUATOR.build(dict(type="Evaluator", metrics=metric))
    evaluator.dataset_meta = frames.metainfo
    evaluator.process(list(samples))
    return evaluator.evaluate(len(frames))


def ground_truth_file(nusc, scenes, seen, path):
    """Write the annotations in ``seen`` to a results file, without the chain."""
    names = {row["token"]: row["name"] for row in nusc.attribute}
    results = {}
    for sample in nusc.sample:
        if nusc.get("scene", sample["scene_token"])["name"] in scenes:
            rows = [nusc.get("sample_annotation", each) for each in sample["anns"]]
            results[sample["token"]] = [
                {
                    "sample_token": sample["token"],
                    "translation": row["translation"],
                    "size": row["size"],
                    "rotation": row["rotation"],
                    "velocity": np.nan_to_num(nusc.box_velocity(row["token"])[:2]).tolist(),
                    "detection_name": category_to_detection_name(row["category_name"]),
                    "detection_score": 1.0,
                    "attribute_name": "".join(names[each] for each in row["attribute_tokens"]),
                }
                for row in rows
                if row["token"] in seen
            ]
    meta = dict.fromkeys(("use_camera", "use_lidar", "use_radar", "use_map", "use_external"), True)
    path.write_text(json.dumps({"meta": meta, "results": results}))


def seen_in(frames):
    """Return the tokens of the annotations that are not ignored in some image."""
    tokens = set()
    for position, row in enumerate(frames.rows):
        instances = frames.get_data_info(position)["instances"]
        boxes = frames._boxes(np.array([row])).box
        tokens.update(
            frames.index.boxes.token[box]
            for box, instance in zip(boxes, instances, strict=True)
            if not instance["ignore_flag"]
        )
    return tokens


def test_the_ground_truth_of_the_town_scores_one(config, town, tmp_path):
    frames = frames_of(config, town, "mini_val")
    found = score(config, frames, perfect_predictions(config, frames), out_dir=str(tmp_path))
    assert found["nuscenes/NDS"] > 0.999
    for error in ERRORS:
        assert found[f"nuscenes/{error}"] < 1e-4, error
    for name in DETECTION_CLASSES:
        assert found[f"nuscenes/{name}_count"] > 0, name
        assert found[f"nuscenes/{name}_AP"] > 0.99, name


def test_results_of_flipped_images_are_flipped_back(config, town):
    pipeline = list(config.test_dataloader.dataset.pipeline)
    pipeline.insert(-1, dict(type="drivemim.FlipFrame3D", prob=1.0))
    frames = frames_of(config, town, "mini_val", pipeline=pipeline)
    found = score(config, frames, perfect_predictions(config, frames))
    assert found["nuscenes/NDS"] > 0.999


@pytest.mark.parametrize(
    ("name", "scenes"),
    [
        ("nuscenes-sample", "mini_train"),
        ("surround-clips", "mini_train"),
        ("surround-clips", "mini_val"),
    ],
)
def test_real_frames_score_what_their_ground_truth_does(config, real_data, tmp_path, name, scenes):
    root = real_data / name
    index = build_nuscenes_index(root, "v1.0-mini", tmp_path / "index.arrow")
    frames = frames_of(config, index, scenes)
    found = score(
        config, frames, perfect_predictions(config, frames), out_dir=str(tmp_path / "ours")
    )
    nusc = NuScenes("v1.0-mini", str(root), verbose=False)
    ground_truth_file(
        nusc, frames.metainfo["nuscenes"]["scenes"], seen_in(frames), tmp_path / "straight.json"
    )
    official, _ = DetectionEval(
        nusc, config_factory("detection_cvpr_2019"), str(tmp_path / "straight.json"), scenes,
        str(tmp_path), verbose=False,
    ).evaluate()  # fmt: skip
    assert found["nuscenes/NDS"] == pytest.approx(official.nd_score, abs=1e-4)
    assert found["nuscenes/mAP"] == pytest.approx(official.mean_ap, abs=1e-4)
    for error, long in ERRORS.items():
        assert found[f"nuscenes/{error}"] == pytest.approx(official.tp_errors[long], abs=1e-4)
    assert found["nuscenes/car_AP"] > 0.3


@pytest.mark.parametrize("path", runnable("detection3d"), ids=config_name)
def test_a_small_detector_trains_and_is_scored(town, path):
    config = small_config(path)
    init_default_scope("mmdet")
    torch.manual_seed(0)
    model = MODELS.build(config.model)
    model.init_weights()
    optimizer = build_optim_wrapper(model, config.optim_wrapper)
    data = config.train_dataloader.dataset.to_dict()
    data["dataset"].update(index=str(town), scenes="mini_train")
    frames = DATASETS.build(data)
    before = {key: value.detach().clone() for key, value in model.named_parameters()}
    for step in range(2):  # a ResNet's residual branches begin at zero and wake in the second
        batch = [frames[ItemRequest(row, seed=10 * step + row)] for row in range(2)]
        losses = model.train_step(pseudo_collate(batch), optimizer)
    assert len(losses) == 10  # nine losses and their sum
    assert all(torch.isfinite(value).all() for value in losses.values())
    still = {key for key, value in model.named_parameters() if torch.equal(value, before[key])}
    assert not still

    frames = frames_of(config, town, "mini_val")
    model.eval()
    # Keep all detections, else there is nothing to score: an untrained network has low scores.
    model.bbox_head.test_cfg["score_thr"] = 0.0
    samples = model.test_step(pseudo_collate([frames[0], frames[1]]))
    assert all(len(each.pred_instances) > 0 for each in samples)
    found = score(config, frames, [each.to_dict() for each in samples], headings=False)
    assert 0 <= found["nuscenes/NDS"] <= 1
