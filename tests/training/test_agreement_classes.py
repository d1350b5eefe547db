"""The classes of heads are compared with those of data sets and of their files."""

import json
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from agreement_parts import TWO, Data, build, message
from torch.utils.data import ConcatDataset

from drivemim.config.loading import load_config
from drivemim.config.option_values import parse_value
from drivemim.data.clips.sampler import SeededDataset
from drivemim.masking import ObjectMask, RandomMask, StackMask
from drivemim.training.class_agreement import (
    check_annotations,
    check_classes,
    check_mask_classes,
    check_proposals,
    check_same_classes,
)

ROOT = Path(__file__).resolve().parents[2]


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
def test_a_head_with_fewer_classes_than_the_data_is_refused(path, options, head):
    classes = tuple("abcdefghij") if "mask" in path else TWO
    found = message(check_classes, build(path, **options), Data(classes), "train_dataloader")
    assert found.startswith(
        f"model.{head}.num_classes=1, but train_dataloader has the {len(classes)} classes "
        f"{', '.join(classes)}; set model."
    )


def test_a_head_for_3d_boxes_is_compared_too():
    model = build("detection3d/fcos3d_resnet50_nuscenes.py")
    assert "model.bbox_head.num_classes=10, but" in message(check_classes, model, Data(), "x")


def test_classes_of_wrapped_and_concatenated_data_sets_are_compared():
    model = build("detection/retinanet_resnet50_nuscenes.py")
    one = Data(("vehicle",))
    for data in (SeededDataset(dataset=one), ConcatDataset([Data(), SeededDataset(dataset=one)])):
        found = message(check_classes, model, data, "train_dataloader")
        assert "has the 1 classes vehicle; set model.bbox_head.num_classes=1" in found
    check_classes(model, ConcatDataset([Data(), SeededDataset(dataset=Data())]), "x")


def test_modules_with_other_classes_are_not_checked():
    model = build("instances/mask_rcnn_resnet50_nuimages.py")
    model.backbone.num_classes = 1000  # the classes of ImageNet
    model.roi_head.mask_head.class_agnostic, model.roi_head.mask_head.num_classes = True, 80
    check_classes(model, Data(tuple("abcdefghij")), "train_dataloader")
    check_classes(torch.nn.Linear(1, 1), Data(), "train_dataloader")


def test_classes_that_are_a_str_are_refused():
    model = build("detection/retinanet_resnet50_nuscenes.py")
    found = message(check_classes, model, Data("ab"), "train_dataloader")
    assert "('ab',)" in found


def test_a_proposal_network_with_two_classes_is_refused():
    config = load_config(ROOT / "configs/detection/faster_rcnn_resnet50_nuscenes.py")
    config.model.rpn_head.num_classes = 2
    assert message(check_proposals, config.model).startswith("model.rpn_head.num_classes=2: ")


def test_classes_in_another_order_are_refused():
    check_same_classes(Data(), SeededDataset(dataset=Data(list(TWO))), ("a", "b"))
    found = message(check_same_classes, Data(), Data(TWO[::-1]), ("train", "val"))
    assert found.startswith(
        "train has the classes pedestrian, vehicle, but val has vehicle, pedestrian: a label"
    )


def coco(folder, names):
    categories = [{"id": 3 * place + 1, "name": name} for place, name in enumerate(names)]
    path = folder / "train.json"
    path.write_text(json.dumps({"images": [], "annotations": [], "categories": categories}))
    return path


def test_classes_must_be_in_the_coco_file_and_in_its_order(tmp_path):
    path = str(coco(tmp_path, ["car", "bus", "person"]))
    check_annotations(Data(("car", "person"), ann_file=path, cat_ids=[1, 7]), "train_dataloader")
    # MMDetection numbers the classes in the file's order: 'car' would be 0, which is 'person'.
    found = message(
        check_annotations, Data(("person", "car"), ann_file=path, cat_ids=[1, 7]), "train"
    )
    assert f"{path} has them in the order car, person" in found
    # MMDetection leaves out a misspelt name, so all later classes would get a wrong number.
    found = message(
        check_annotations, Data(("caar", "person"), ann_file=path, cat_ids=[7]), "train"
    )
    assert f"{path} has no caar" in found


def test_the_stages_of_a_cascade_of_proposals_have_one_class():
    """Each stage below ``rpn_head`` is a region proposal network."""
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
    """MMDetection's GARPNHead (guided anchoring) is no subclass of RPNHead."""

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


def test_num_classes_of_the_model_itself_is_compared():
    model = torch.nn.Linear(1, 1)
    model.num_classes = 3
    found = message(check_classes, model, Data(), "train_dataloader")
    assert found.startswith("model.num_classes=3, but train_dataloader has the 2 classes")


def test_data_sets_in_one_loader_have_the_same_classes():
    mixed = ConcatDataset([Data(), Data(TWO[::-1])])
    found = message(
        check_same_classes, mixed, mixed, ("train_dataloader", "another data set in it")
    )
    begin, end = 'in the same order: --cfg-options "classes=', '"'
    assert found.endswith(f"{begin}['pedestrian', 'vehicle']{end}")
    many = ["traffic light", "lamp, high", *(f"c{number}" for number in range(13))]
    found = message(check_same_classes, many, Data(), ("the checkpoint", "test_dataloader"))
    assert parse_value(found.partition(begin)[2].removesuffix(end)) == many


def test_masks_with_budgets_for_classes_that_the_data_lacks_are_refused():
    """Nested masks are checked as well; one budget for all objects fits every class."""
    inner = ObjectMask(budget_fraction={"tram": 0.1})
    model = SimpleNamespace(
        masking=StackMask(strategies=[RandomMask(), inner], budget_fractions=[1, 0])
    )
    data = SeededDataset(dataset=Data(("car", "tram")))
    check_mask_classes(model, data)
    check_mask_classes(SimpleNamespace(masking=ObjectMask()), Data())
    check_mask_classes(SimpleNamespace(), Data())
    found = message(check_mask_classes, model, Data(("car", "train")))
    assert found == (
        "budget_fraction: 'tram' is none of the data's classes, car, train; did you mean 'train'?"
    )
