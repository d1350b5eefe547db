"""Every config is read, checked and built; small versions of detectors train a step."""

import json
import re
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from mmdet.registry import TASK_UTILS
from mmdet.structures.bbox import bbox_overlaps
from mmengine.config import ConfigDict
from mmengine.dataset import pseudo_collate
from mmengine.optim import build_optim_wrapper
from mmengine.registry import DATASETS, EVALUATOR, MODELS, init_default_scope
from mmengine.structures import InstanceData
from PIL import Image
from shipped_configs import CONFIGS, config_name, runnable, small_config

from drivemim.config.loading import load_config
from drivemim.data.clips.sampler import ItemRequest
from drivemim.data.index.builders.frames import build_frames_index
from drivemim.errors import ConfigError

PATHS = runnable()
DETECTION = runnable("detection")
INSTANCES = runnable("instances")
# Not trained here: only their data differs from that of the configs for IDD.
REPEATED = {"atss_vit_micro_jitter_labels_camvid", "atss_resnet18_jitter_labels_camvid"}
TRAINED = [path for path in DETECTION if path.stem not in REPEATED]
# Heads and assigners that ignore objects in their own way, without ``ignore_iof_thr``.
IGNORING = {
    "drivemim.IgnoringFCOSHead",
    "drivemim.IgnoringDINOHead",
    "drivemim.IgnoringSoftLabelAssigner",
}


@pytest.mark.parametrize("path", PATHS, ids=config_name)
def test_every_config_builds_its_model(path):
    config = load_config(path)
    init_default_scope(config.default_scope)
    with torch.device("meta"):  # shapes only: a ViT-B takes no time and no memory
        model = MODELS.build(config.model)
    assert sum(parameter.numel() for parameter in model.parameters()) > 1e5
    assert len(list(build_optim_wrapper(model, config.optim_wrapper).param_groups)) >= 1


@pytest.mark.parametrize("path", DETECTION, ids=config_name)
def test_detection_configs_have_consistent_data_schedule_and_classes(path):
    config = load_config(path)
    assert config.default_scope == "mmdet"
    assert config.backbone_checkpoint is None
    assert config.model.backbone.get("init_cfg") is None  # nothing is downloaded
    train = config.train_dataloader.dataset.dataset
    for dataset in train, config.val_dataloader.dataset, config.test_dataloader.dataset:
        assert dataset.filters == train.filters
        assert dataset.index == train.index
        assert dataset.pipeline[0].image_size == train.pipeline[0].image_size
    colours = ["YOLOXHSVRandomAug"] if "nuscenes" in path.stem else []
    jitter = ["RandomAffine"] if "jitter" in path.stem else []
    transforms = ["drivemim.LoadReducedImage", *colours, "RandomFlip", *jitter, "PackDetInputs"]
    assert [each["type"] for each in train.pipeline] == transforms
    assert train.scenes != config.val_dataloader.dataset.scenes
    assert config.param_scheduler[-1].end == config.train_cfg.max_iters
    found = assigners(config.model)
    ignoring = [each for each in found if each.get("ignore_iof_thr", 0) > 0]
    others = [each["type"] for each in found if each not in ignoring]
    others += [config.model.bbox_head.type] if "bbox_head" in config.model else []
    assert len(ignoring) == len(found) or IGNORING & set(others), "ignored objects are background"
    assert found or IGNORING & set(others)
    classes = [value for key, value in walk(config.model) if key == "num_classes"]
    assert classes
    assert set(classes) == {2}


def anchors_of(config):
    """Yield the settings of the anchors that objects are assigned to by their IoU."""
    model, train = config.model, config.model.get("train_cfg") or {}
    for head, own in (("rpn_head", train.get("rpn")), ("bbox_head", train)):
        settings = (model.get(head) or {}).get("anchor_generator")
        if settings is not None and own.assigner.type == "MaxIoUAssigner":
            yield settings


@pytest.mark.parametrize("path", [*DETECTION, *INSTANCES], ids=config_name)
def test_objects_as_large_as_half_the_image_have_anchors(path):
    """Without such anchors, a detector would learn a car right ahead as background."""
    config = load_config(path)
    init_default_scope("mmdet")
    height, width = config.image_size
    sizes = np.array([[0.5, 0.55], [0.35, 0.4], [0.15, 0.6]])  # two cars and a person
    centres = np.array([[0.45, y] for y in (0.5, 0.55, 0.6, 0.65)])[:, None]
    boxes = np.concatenate([centres - sizes / 2, centres + sizes / 2], axis=-1).reshape(-1, 4)
    boxes = torch.tensor(boxes * np.array([width, height] * 2), dtype=torch.float32)
    for settings in anchors_of(config):
        anchors = TASK_UTILS.build(settings)
        maps = [(-(-height // stride[1]), -(-width // stride[0])) for stride in anchors.strides]
        found = bbox_overlaps(torch.cat(anchors.grid_priors(maps, device="cpu")), boxes)
        assert found.max(dim=0).values.min() > 0.4


def walk(tree):
    """Yield every key and value in nested dicts and lists."""
    pairs = tree.items() if isinstance(tree, dict) else enumerate(tree)
    for key, value in pairs:
        yield key, value
        if isinstance(value, (dict, list)):
            yield from walk(value)


def assigners(model):
    return [value for key, value in walk(model) if key == "assigner"]


def test_every_detector_comes_with_a_resnet_and_a_vit():
    """And its base config starts from MMDetection's own config."""
    detectors = ("retinanet", "faster_rcnn", "fcos", "cascade_rcnn", "dino", "rtmdet")
    found = {path.stem for path in DETECTION if path.is_relative_to(CONFIGS)}
    full = {f"{each}_{kind}_nuscenes" for each in detectors for kind in ("resnet50", "vit_base")}
    assert found == full | {"atss_vit_micro_town"}
    assert {path.stem for path in INSTANCES} == {
        "mask_rcnn_resnet50_nuimages", "mask_rcnn_vit_base_nuimages",
    }  # fmt: skip
    for detector in (*detectors, "mask_rcnn"):
        base = (CONFIGS / "_base_" / "models" / f"{detector}.py").read_text()
        assert re.search(r"_base_ = 'mmdet::|shipped = 'mmdet::", base)


def test_all_detectors_have_the_same_vit_base():
    paths = [
        each for each in runnable() if "vit_base" in each.stem and "pretrain" not in each.parts
    ]
    assert len(paths) == 8
    for path in paths:
        config = load_config(path)
        assert config.model.backbone == dict(
            type="drivemim.ViT", arch="base", patch_size=16, drop_path_rate=0.1,
            window_size=14, global_blocks=4,
        )  # fmt: skip
        assert (config.model.neck.in_channels, config.model.neck.out_channels) == (768, 256)
        assert config.optim_wrapper.paramwise_cfg.decay_rate == 0.8


def test_a_misspelt_key_is_an_error_that_names_the_nearest(tmp_path):
    base = CONFIGS / "detection" / "atss_vit_micro_town.py"
    (tmp_path / "config.py").write_text(f"_base_ = '{base}'\nbackbone_chekpoint = 'x'\n")
    with pytest.raises(ConfigError, match="backbone_checkpoint"):
        load_config(tmp_path / "config.py")


@pytest.fixture(scope="module")
def tiny_index(tmp_path_factory):
    """Two drives of two frames each, of noise, with one car, one pedestrian and one rider."""
    folder = tmp_path_factory.mktemp("tiny")
    generator = np.random.default_rng(0)
    boxes = {1: [40, 60, 80, 50], 2: [200, 50, 25, 70], 3: [250, 50, 25, 70]}
    categories = [{"id": 1, "name": "car"}, {"id": 2, "name": "person"}, {"id": 3, "name": "rider"}]
    for split in "train", "val":
        images, annotations = [], []
        for number in (1, 2):
            file = f"{split}/{number}.jpg"
            (folder / split).mkdir(exist_ok=True)
            noise = generator.integers(0, 255, (240, 400, 3), dtype=np.uint8)
            assert cv2.imwrite(str(folder / file), noise)
            images.append(
                dict(id=number, file_name=file, width=400, height=240, sequence=split, frame=number)
            )
            annotations += [
                dict(id=10 * number + category, image_id=number, category_id=category, bbox=box)
                | dict(area=box[2] * box[3], iscrowd=0)
                for category, box in boxes.items()
            ]
        document = {"images": images, "annotations": annotations, "categories": categories}
        (folder / f"{split}.json").write_text(json.dumps(document))
    index = folder / "index.arrow"
    build_frames_index([folder], index, coco=[folder / "train.json", folder / "val.json"])
    return index


FROZEN = {
    "retinanet_resnet50_nuscenes": {
        "model.backbone.frozen_stages": 4, "model.backbone.norm_eval": True,
    },
    "retinanet_vit_base_nuscenes": {
        "model.backbone.frozen_stages": 6, "model.backbone.window_size": None,
    },
}  # fmt: skip


@pytest.mark.parametrize(
    ("path", "options"),
    [
        *((path, {}) for path in TRAINED),
        *((CONFIGS / "detection" / f"{name}.py", options) for name, options in FROZEN.items()),
    ],
    ids=lambda each: config_name(each) if isinstance(each, Path) else "frozen" if each else "",
)
def test_a_small_detector_trains_a_step_and_is_evaluated(path, options, tiny_index):
    config = small_config(path, **options)
    init_default_scope("mmdet")
    torch.manual_seed(0)
    model = MODELS.build(config.model)
    model.init_weights()
    optimizer = build_optim_wrapper(model, config.optim_wrapper)
    data = config.train_dataloader.dataset
    data.dataset.update(index=tiny_index, scenes="train")
    dataset = DATASETS.build(data)
    before = {key: value.clone() for key, value in model.state_dict().items()}
    for step in range(2):  # a ResNet's residual branches begin at zero and wake in the second
        batch = [dataset[ItemRequest(row, seed=10 * step + row)] for row in range(2)]
        losses = model.train_step(pseudo_collate(batch), optimizer)
    assert all(torch.isfinite(value).all() for value in losses.values())
    now = model.state_dict()
    still = {key for key in before if torch.equal(now[key], before[key])}
    backbone = {key for key in before if key.startswith("backbone.")}
    # Freezing stops the weights and the batch norm statistics of the backbone, and nothing else.
    assert still & backbone == (backbone if options else set())
    assert not [key for key in still - backbone if key.startswith("neck.") and "weight" in key]

    test = ConfigDict(config.test_dataloader.dataset)
    test.update(index=tiny_index, scenes="val")
    dataset = DATASETS.build(test)
    evaluator = EVALUATOR.build(dict(type="Evaluator", metrics=config.test_evaluator))
    evaluator.dataset_meta = dataset.metainfo
    model.eval()
    evaluator.process(model.test_step(pseudo_collate([dataset[0], dataset[1]])), None)
    numbers = evaluator.evaluate(2)
    assert numbers["drivemim/vehicle_count"] == 2
    assert numbers["drivemim/pedestrian_count"] == 2
    assert 0 <= numbers["drivemim/mAP"] <= 1


@pytest.mark.parametrize("path", DETECTION, ids=config_name)
def test_ignored_objects_are_not_trained_as_background(path):
    init_default_scope("mmdet")
    # Priors of 16 pixels in a row: the first covers the object, the next two the ignored object.
    left = torch.arange(0, 160, 16.0)
    priors = torch.stack([left, 0 * left, left + 16, 0 * left + 16], dim=1)
    predictions = InstanceData(priors=priors, bboxes=priors)
    truth = InstanceData(bboxes=priors[:1], labels=torch.zeros(1, dtype=torch.int64))
    ignored = InstanceData(bboxes=torch.tensor([[16.0, -8.0, 48.0, 24.0]]))
    # The heads and assigners in IGNORING have tests of their own.
    for settings in assigners(load_config(path).model):
        if "ignore_iof_thr" not in settings:
            continue
        assigner = TASK_UTILS.build(settings)
        levels = [[len(priors)]] if settings.type == "ATSSAssigner" else []
        found = assigner.assign(predictions, *levels, truth, ignored).gt_inds.tolist()
        assert found == [1, -1, -1, 0, 0, 0, 0, 0, 0, 0]


@pytest.fixture(scope="module")
def tiny_masks(tmp_path_factory):
    """Write a COCO file with polygons of a car and a pedestrian on each of two images."""
    folder = tmp_path_factory.mktemp("masks")
    generator = np.random.default_rng(0)
    boxes = {1: [40, 60, 80, 50], 8: [200, 50, 25, 70]}
    names = load_config(INSTANCES[0]).metainfo.classes
    images, annotations = [], []
    for number in (1, 2):
        noise = generator.integers(0, 255, (240, 400, 3), dtype=np.uint8)
        assert cv2.imwrite(str(folder / f"{number}.jpg"), noise)
        images.append(dict(id=number, file_name=f"{number}.jpg", width=400, height=240))
        for category, (x, y, w, h) in boxes.items():
            diamond = [x + w / 2, y, x + w, y + h / 2, x + w / 2, y + h, x, y + h / 2]
            annotations.append(
                dict(id=10 * number + category, image_id=number, category_id=category, iscrowd=0)
                | dict(bbox=[x, y, w, h], area=w * h / 2, segmentation=[diamond])
            )
    categories = [dict(id=place + 1, name=each) for place, each in enumerate(names)]
    document = dict(images=images, annotations=annotations, categories=categories)
    (folder / "masks.json").write_text(json.dumps(document))
    return folder


@pytest.mark.parametrize("path", INSTANCES, ids=config_name)
def test_a_small_detector_with_masks_trains_and_is_evaluated(path, tiny_masks):
    config = small_config(path)
    init_default_scope("mmdet")
    torch.manual_seed(0)
    model = MODELS.build(config.model)
    model.init_weights()
    optimizer = build_optim_wrapper(model, config.optim_wrapper)
    place = dict(data_root=str(tiny_masks), ann_file="masks.json")
    data = config.train_dataloader.dataset
    data.dataset.update(place)
    dataset = DATASETS.build(data)
    batch = [dataset[ItemRequest(row, seed=row)] for row in range(2)]
    truth = batch[0]["data_samples"].gt_instances
    assert truth.labels.tolist() == [0, 7]
    # A diamond has half of its box's area; the images are resized by 320 / 400 = 192 / 240 = 0.8.
    areas = truth.masks.to_tensor(torch.float32, "cpu").sum(dim=(1, 2))
    assert torch.allclose(areas, torch.tensor([2000.0, 875.0]) * 0.8 * 0.8, rtol=0.1)
    losses = model.train_step(pseudo_collate(batch), optimizer)
    assert losses["loss_mask"] > 0
    assert all(torch.isfinite(value).all() for value in losses.values())

    test = ConfigDict(config.test_dataloader.dataset)
    test.update(place)
    dataset = DATASETS.build(test)
    metric = ConfigDict(config.test_evaluator, ann_file=str(tiny_masks / "masks.json"))
    evaluator = EVALUATOR.build(dict(type="Evaluator", metrics=metric))
    evaluator.dataset_meta = dataset.metainfo
    model.eval()
    with torch.no_grad():
        evaluator.process(model.test_step(pseudo_collate([dataset[0], dataset[1]])), None)
    numbers = evaluator.evaluate(2)
    assert {"coco/bbox_mAP", "coco/segm_mAP"} <= set(numbers)


def test_an_image_with_an_exif_orientation_is_refused_with_masks(tiny_masks):
    config = small_config(INSTANCES[0])
    init_default_scope("mmdet")
    data = ConfigDict(config.test_dataloader.dataset, data_root=str(tiny_masks))
    data.ann_file = "masks.json"
    exif = Image.Exif()
    exif[274] = 3
    with Image.open(tiny_masks / "2.jpg") as image:
        image.save(tiny_masks / "2.jpg", exif=exif)
    dataset = DATASETS.build(data)
    assert dataset[0]["inputs"].shape == (3, 192, 320)
    with pytest.raises(ValueError, match=r"2\.jpg of frame 2 has EXIF orientation 3"):
        dataset[1]
