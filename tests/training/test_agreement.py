"""Settings that depend on each other are compared before a run begins."""

import json
from pathlib import Path
from types import SimpleNamespace

import cv2
import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.registry import MODELS, init_default_scope
from shipped_configs import config_name, runnable
from torch.utils.data import ConcatDataset

from drivemim.config.loading import load_config
from drivemim.data.clips.sampler import SeededDataset
from drivemim.data.detection.detection_dataset import FrameDetection
from drivemim.data.index.builders.frames import build_frames_index
from drivemim.errors import ConfigError
from drivemim.training.agreement import (
    check_annotations,
    check_classes,
    check_evaluator,
    check_proposals,
    check_same_classes,
    check_scaled_rate,
    check_strides,
    warn_of_copies,
    warn_of_ignored,
    warn_of_sizes,
)
from drivemim.training.run import evaluate, train

ROOT = Path(__file__).resolve().parents[2]
TOYS = ROOT / "tests" / "toys" / "configs"
DETECTORS = runnable("detection", "detection3d", "instances")
TWO = ("pedestrian", "vehicle")
TEN = {"detection3d", "instances"}


class Data(torch.utils.data.Dataset):
    """A data set that says what classes it has."""

    def __init__(self, classes=TWO, **attributes):
        self.metainfo = {"classes": classes}
        vars(self).update(attributes)

    def __len__(self):
        return 1


def build(path, **options):
    """A detector without numbers: shapes only."""
    config = load_config(ROOT / "configs" / path, options)
    init_default_scope(config.default_scope)
    with torch.device("meta"):
        return MODELS.build(config.model)


def message(function, *args):
    with pytest.raises(ConfigError) as error:
        function(*args)
    return str(error.value)


@pytest.mark.parametrize("path", DETECTORS, ids=config_name)
def test_every_shipped_detector_agrees_with_itself(path):
    model = build(path)
    classes = tuple(map(str, range(10))) if path.parent.name in TEN else TWO
    check_classes(model, Data(classes), "train_dataloader")
    check_strides(model)
    check_proposals(load_config(path).model)
    assert "num_classes" in message(check_classes, model, Data(("one",)), "train_dataloader")
    assert warn_of_ignored(load_config(path), Data(filters={"min_width": 3})) is None


@pytest.mark.parametrize(
    ("path", "options", "head"),
    [
        (
            "detection/retinanet_resnet50_nuscenes.py",
            {"model.bbox_head.num_classes": 1},
            "bbox_head",
        ),
        (
            "detection/faster_rcnn_resnet50_nuscenes.py",
            {"model.roi_head.bbox_head.num_classes": 1},
            "roi_head.bbox_head",
        ),
        (
            "detection/cascade_rcnn_resnet50_nuscenes.py",
            {"model.roi_head.bbox_head.1.num_classes": 1},
            "roi_head.bbox_head.1",
        ),
        ("detection/dino_resnet50_nuscenes.py", {"model.bbox_head.num_classes": 1}, "bbox_head"),
        (
            "instances/mask_rcnn_resnet50_nuimages.py",
            {"model.roi_head.mask_head.num_classes": 1},
            "roi_head.mask_head",
        ),
    ],
)
def test_a_head_of_one_class_too_few(path, options, head):
    classes = tuple("abcdefghij") if "mask" in path else TWO
    found = message(check_classes, build(path, **options), Data(classes), "train_dataloader")
    assert found.startswith(
        f"model.{head}.num_classes=1, but train_dataloader has the {len(classes)} classes "
        f"{', '.join(classes)}; set model."
    )


def test_a_head_of_3d_boxes_is_compared_too():
    model = build("detection3d/fcos3d_resnet50_nuscenes.py")
    assert "model.bbox_head.num_classes=10, but" in message(check_classes, model, Data(), "x")


def test_wrapped_and_joined_data_sets_are_looked_into():
    model = build("detection/retinanet_resnet50_nuscenes.py")
    one = Data(("vehicle",))
    for data in (SeededDataset(dataset=one), ConcatDataset([Data(), SeededDataset(dataset=one)])):
        found = message(check_classes, model, data, "train_dataloader")
        assert "has the 1 classes vehicle; set model.bbox_head.num_classes=1" in found
    check_classes(model, ConcatDataset([Data(), SeededDataset(dataset=Data())]), "x")


def test_what_has_other_classes_is_left_alone():
    model = build("instances/mask_rcnn_resnet50_nuimages.py")
    model.backbone.num_classes = 1000  # of ImageNet
    model.roi_head.mask_head.class_agnostic, model.roi_head.mask_head.num_classes = True, 80
    check_classes(model, Data(tuple("abcdefghij")), "train_dataloader")
    check_classes(torch.nn.Linear(1, 1), Data(), "train_dataloader")


def test_classes_that_are_a_text_are_no_list():
    model = build("detection/retinanet_resnet50_nuscenes.py")
    found = message(check_classes, model, Data("ab"), "train_dataloader")
    assert "('ab',)" in found


def test_a_proposal_network_of_two_classes():
    config = load_config(ROOT / "configs/detection/faster_rcnn_resnet50_nuscenes.py")
    config.model.rpn_head.num_classes = 2
    assert message(check_proposals, config.model).startswith("model.rpn_head.num_classes=2: ")


def test_classes_in_another_order():
    check_same_classes(Data(), SeededDataset(dataset=Data(list(TWO))), ("a", "b"))
    found = message(check_same_classes, Data(), Data(TWO[::-1]), ("train", "val"))
    assert found.startswith(
        "train has the classes pedestrian, vehicle, but val has vehicle, pedestrian: a label"
    )


def test_a_run_stops_before_it_begins_and_a_test_before_it_is_scored(tmp_path):
    plain = {"model.backbone.init_cfg": None}
    wrong = {**plain, "model.bbox_head.num_classes": 1}
    with pytest.raises(ConfigError, match="model.bbox_head.num_classes=1, but train_dataloader"):
        train(TOYS / "detector.py", work_dir=tmp_path / "wrong", options=wrong)
    assert not list(tmp_path.rglob("*.pth"))
    train(TOYS / "detector.py", work_dir=tmp_path / "right", options=plain)
    checkpoint = tmp_path / "right" / "iter_2.pth"
    with pytest.raises(ConfigError, match="model.bbox_head.num_classes=1, but test_dataloader"):
        evaluate(TOYS / "detector.py", checkpoint, work_dir=tmp_path, options=wrong)
    content = torch.load(checkpoint, weights_only=False)
    content["meta"]["dataset_meta"]["classes"] = TWO[::-1]
    torch.save(content, checkpoint)
    with pytest.raises(ConfigError, match="the checkpoint has the classes vehicle, pedestrian"):
        evaluate(TOYS / "detector.py", checkpoint, work_dir=tmp_path)


@pytest.mark.parametrize(
    ("path", "options", "given", "levels"),
    [
        (
            "detection/retinanet_vit_base_nuscenes.py",
            {"model.bbox_head.anchor_generator.strides": [4, 8, 16, 32, 64]},
            "bbox_head.anchor_generator.strides=[4, 8, 16, 32, 64]",
            "[8, 16, 32, 64, 128]",
        ),
        (
            "detection/faster_rcnn_vit_base_nuscenes.py",
            {"model.roi_head.bbox_roi_extractor.featmap_strides": [8, 16, 32, 64]},
            "roi_head.bbox_roi_extractor.featmap_strides=[8, 16, 32, 64]",
            "[4, 8, 16, 32]",
        ),
        (
            "detection/fcos_vit_base_nuscenes.py",
            {"model.backbone.patch_size": 8},  # the pyramid is half as coarse then
            "bbox_head.strides=[8, 16, 32, 64]",
            "[4, 8, 16, 32]",
        ),
        (
            "detection3d/fcos3d_vit_base_nuscenes.py",
            {"model.bbox_head.strides": [4, 8, 16, 32]},
            "bbox_head.strides=[4, 8, 16, 32]",
            "[8, 16, 32, 64]",
        ),
    ],
)
def test_strides_that_the_maps_do_not_have(path, options, given, levels):
    found = message(check_strides, build(path, **options))
    assert f"model.{given}, but" in found
    assert found.endswith(f"set it to {levels}")


def coco(folder, names):
    categories = [{"id": 3 * place + 1, "name": name} for place, name in enumerate(names)]
    path = folder / "train.json"
    path.write_text(json.dumps({"images": [], "annotations": [], "categories": categories}))
    return path


def test_classes_of_a_coco_file_are_there_and_in_its_order(tmp_path):
    path = str(coco(tmp_path, ["car", "bus", "person"]))
    check_annotations(Data(("car", "person"), ann_file=path, cat_ids=[1, 7]), "train_dataloader")
    # MMDetection numbers by the file: 'car' would be 0 and called 'person'.
    found = message(
        check_annotations, Data(("person", "car"), ann_file=path, cat_ids=[1, 7]), "train"
    )
    assert f"{path} has them in the order car, person" in found
    # A name that is misspelt is left out, and all that follow move up.
    found = message(
        check_annotations, Data(("caar", "person"), ann_file=path, cat_ids=[7]), "train"
    )
    assert f"{path} has no caar" in found


def test_an_evaluator_of_another_file(tmp_path):
    data = Data(ann_file=str(tmp_path / "val.json"))
    evaluator = dict(type="CocoMetric", ann_file=str(tmp_path / "x" / ".." / "val.json"))
    check_evaluator([evaluator], SeededDataset(dataset=data), "val_evaluator")
    check_evaluator(dict(type="CocoMetric"), data, "val_evaluator")
    evaluator["ann_file"] = str(tmp_path / "train.json")
    found = message(check_evaluator, [evaluator], data, "val_evaluator")
    assert found.startswith(f"val_evaluator.ann_file={tmp_path / 'train.json'}, but the data set")


def test_ignored_objects_that_would_be_background():
    config = load_config(ROOT / "configs/detection/retinanet_resnet50_nuscenes.py")
    data = Data(filters={"min_width": 3})
    config.model.train_cfg.assigner.ignore_iof_thr = -1
    assert "MaxIoUAssigner teaches objects" in warn_of_ignored(config, data)
    assert warn_of_ignored(config, Data(filters={})) is None
    config = load_config(ROOT / "configs/detection/fcos_resnet50_nuscenes.py")
    config.model.bbox_head.type = "FCOSHead"
    assert "the head teaches objects" in warn_of_ignored(config, data)


def test_sizes_of_training_and_evaluation():
    config = load_config(ROOT / "configs/detection/retinanet_resnet50_nuscenes.py")
    loaders = ("train_dataloader", "test_dataloader")
    assert warn_of_sizes(config, loaders) is None
    config.test_dataloader.dataset.pipeline[0].image_size = (192, 320)
    assert warn_of_sizes(config, loaders) == (
        "frames are read at different sizes (height, width): train_dataloader at [(448, 800)], "
        "test_dataloader at [(192, 320)]"
    )
    assert warn_of_sizes(Config(dict()), loaders) is None


def test_a_model_that_cannot_be_measured_is_not_refused():
    class Odd(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.bbox_head = torch.nn.Linear(1, 1)
            self.bbox_head.prior_generator = SimpleNamespace(strides=[8])

        def extract_feat(self, images):
            raise RuntimeError("takes 224 pixels")

    check_strides(Odd())


def test_the_stages_of_a_cascade_of_proposals_have_one_class():
    """Each is a region proposal network, below ``rpn_head``."""
    model = torch.nn.Module()
    model.rpn_head = torch.nn.Module()
    model.rpn_head.stages = torch.nn.ModuleList(torch.nn.Linear(1, 1) for _ in range(2))
    for stage in model.rpn_head.stages:
        stage.num_classes = 1
    model.roi_head = torch.nn.Linear(1, 1)
    model.roi_head.num_classes = 2
    check_classes(model, Data(), "train_dataloader")
    config = dict(rpn_head=dict(stages=[dict(num_classes=1), dict(num_classes=2)]))
    found = message(check_proposals, config)
    assert found.startswith("model.rpn_head.stages.1.num_classes=2: a region proposal network")


def test_a_proposal_network_that_is_a_detector_of_its_own():
    """MMDetection's RPN is a single-stage detector whose ``bbox_head`` is an RPNHead."""

    class RPNHead(torch.nn.Module):
        num_classes = 1

    class GuidedHead(RPNHead):
        pass

    for head in (RPNHead(), GuidedHead()):
        model = torch.nn.Module()
        model.bbox_head = head
        check_classes(model, Data(), "train_dataloader")


def test_the_head_of_a_proposal_network_may_be_of_any_type():
    """GARPNHead, of MMDetection's guided anchoring, derives from no RPNHead."""

    class RPN(torch.nn.Module):
        pass

    class GuidedRPN(RPN):
        pass

    for model in (RPN(), GuidedRPN()):
        model.bbox_head = torch.nn.Linear(1, 1)
        model.bbox_head.num_classes = 1
        check_classes(model, Data(), "train_dataloader")
    other = torch.nn.Module()
    other.bbox_head = model.bbox_head
    found = message(check_classes, other, Data(), "train_dataloader")
    assert found.startswith("model.bbox_head.num_classes=1, but train_dataloader has the 2 classes")


class Maps(torch.nn.Module):
    """Maps of strides 4 and 8, and heads to give them to."""

    def __init__(self, **heads):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(1))
        for path, attributes in heads.items():
            module = self
            for part in path.split("__"):
                if not hasattr(module, part):
                    module.add_module(part, torch.nn.Module())
                module = getattr(module, part)
            vars(module).update(attributes)

    def extract_feat(self, images):
        return [images[..., ::stride, ::stride] for stride in (4, 8)]


def test_the_map_of_a_semantic_branch_is_none_of_the_necks():
    """HTC fuses all levels at stride 8 and takes its semantic features there."""
    check_strides(Maps(roi_head__semantic_roi_extractor={"featmap_strides": [8]}))
    found = message(check_strides, Maps(roi_head__bbox_roi_extractor={"featmap_strides": [8]}))
    assert "model.roi_head.bbox_roi_extractor.featmap_strides=[8], but" in found


@pytest.mark.parametrize("name", ["approx_anchor_generator", "square_anchor_generator"])
def test_guided_anchors_and_stages_of_proposals_have_strides_too(name):
    right, wrong = (
        {name: SimpleNamespace(strides=strides, base_sizes=[1, 1])}
        for strides in ([(4, 4), (8, 8)], [(8, 8), (16, 16)])
    )
    check_strides(Maps(bbox_head=right, rpn_head=right))
    found = message(check_strides, Maps(rpn_head=wrong))
    assert f"model.rpn_head.{name}.strides=[8, 16], but" in found
    assert found.endswith("set it to [4, 8]")
    stage = {"prior_generator": SimpleNamespace(strides=[8, 16], base_sizes=[1, 1])}
    found = message(check_strides, Maps(rpn_head__stages__1=stage))
    assert "model.rpn_head.stages.1.anchor_generator.strides=[8, 16], but" in found


def test_strides_that_are_shares_of_one_image_size_are_not_compared():
    """YOLACT's are 550 over the sides of the maps of an image of 550 pixels."""
    strides = [550 / 138, 550 / 69]
    check_strides(Maps(bbox_head={"prior_generator": SimpleNamespace(strides=strides)}))
    found = message(
        check_strides, Maps(bbox_head={"prior_generator": SimpleNamespace(strides=[4.0, 16.0])})
    )
    assert "model.bbox_head.strides=[4, 16], but" in found


def test_a_number_of_classes_of_the_model_itself():
    model = torch.nn.Linear(1, 1)
    model.num_classes = 3
    found = message(check_classes, model, Data(), "train_dataloader")
    assert found.startswith("model.num_classes=3, but train_dataloader has the 2 classes")


def test_a_rate_that_is_scaled_with_the_batch():
    assert check_scaled_rate({}) is None
    assert check_scaled_rate({"auto_scale_lr": {"enable": False}}) is None
    config = {"auto_scale_lr": {"enable": True}}
    assert message(check_scaled_rate, config).startswith(
        "auto_scale_lr.enable=True, but auto_scale_lr.base_batch_size=None: set it to"
    )
    config["auto_scale_lr"]["base_batch_size"] = 16
    assert check_scaled_rate(config) is None
    config["optim_wrapper"] = {"accumulative_counts": 4}
    assert "set auto_scale_lr.base_batch_size to 16 / 4 = 4" in check_scaled_rate(config)


def test_a_scaled_rate_without_its_batch_is_refused_before_anything_is_written(tmp_path):
    options = {"model.backbone.init_cfg": None, "auto_scale_lr": {"enable": True}}
    with pytest.raises(ConfigError, match="base_batch_size=None"):
        train(TOYS / "detector.py", work_dir=tmp_path / "run", options=options)
    assert not (tmp_path / "run").exists()


def test_images_that_are_trained_on_and_judged_on_are_counted(tmp_path):
    """Folder b has two images of its own and a copy of one of a; c has none of others."""
    for name, value in {"a/0": 1, "a/1": 2, "b/0": 3, "b/1": 4, "b/x": 2, "c/0": 5}.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        cv2.imwrite(str(tmp_path / f"{name}.png"), np.full((30, 40, 3), value, np.uint8))
    index = build_frames_index([tmp_path], tmp_path / "index.arrow")

    def frames(scenes):
        data = FrameDetection(index=index, scenes=scenes, filters={}, test_mode=True)
        return SeededDataset(dataset=data)

    names = ("train_dataloader", "val_dataloader")
    assert warn_of_copies(frames("a"), frames("b"), names) == (
        "1 of the 3 images of val_dataloader are images of train_dataloader as well (1 of them as "
        "copies), first b/x.png: results of val_dataloader are of images that were trained on"
    )
    both = warn_of_copies(frames(["a", "b"]), frames(["b", "c"]), names)
    assert both is not None
    assert both.startswith("3 of the 4 images of val_dataloader are images of train_dataloader as "
                           "well (0 of them as copies), first b/0.png")  # fmt: skip
    assert warn_of_copies(frames(["a", "b"]), frames("c"), names) is None
    assert warn_of_copies(Data(), frames("c"), names) is None


def test_images_of_two_indices_are_counted(tmp_path):
    """Of b's three images, 0 and 1 are copies of a's, each in another of two training sets."""
    for name, value in {"a/0": 1, "c/0": 2, "b/0": 1, "b/1": 2, "b/2": 3}.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        cv2.imwrite(str(tmp_path / f"{name}.png"), np.full((30, 40, 3), value, np.uint8))

    def frames(folder):
        index = build_frames_index([tmp_path / folder], tmp_path / f"{folder}.arrow")
        return FrameDetection(index=index, filters={}, test_mode=True)

    learned = ConcatDataset([frames("a"), frames("c")])
    assert warn_of_copies(learned, frames("b"), ("train_dataloader", "val_dataloader")) == (
        "2 of the 3 images of val_dataloader are images of train_dataloader as well (2 of them as "
        "copies), first 0.png: results of val_dataloader are of images that were trained on"
    )
