"""Settings that depend on each other are compared before a run begins."""

import re
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from agreement_parts import TWO, Data, build, message
from mmengine.config import Config
from mmengine.registry import DefaultScope
from seen_data import index_of, write_frames
from shipped_configs import config_name, runnable
from torch.utils.data import ConcatDataset

from drivemim.config.loading import load_config
from drivemim.data.clips.sampler import SeededDataset, SeededInfiniteSampler
from drivemim.data.detection.detection_dataset import FrameDetection
from drivemim.data.detection.detection_transforms import LoadReducedImage
from drivemim.data.index.builders.frames import build_frames_index
from drivemim.errors import ConfigError
from drivemim.training.agreement import (
    check_epochs,
    check_evaluator,
    check_scaled_rate,
    check_strides,
    check_updates,
    warn_of_copies,
    warn_of_ignored,
    warn_of_sizes,
    warn_of_stretch,
)
from drivemim.training.class_agreement import (
    check_classes,
    check_proposals,
)
from drivemim.training.run import evaluate, train
from drivemim.training.training_length import training_length

ROOT = Path(__file__).resolve().parents[2]
TOYS = ROOT / "tests" / "toys" / "configs"
DETECTORS = runnable("detection", "detection3d", "instances")
TEN = {"detection3d", "instances"}


@pytest.mark.parametrize("path", DETECTORS, ids=config_name)
def test_every_shipped_detector_agrees_with_itself(path):
    model = build(path)
    classes = tuple(map(str, range(10))) if path.parent.name in TEN else TWO
    check_classes(model, Data(classes), "train_dataloader")
    check_strides(model)
    check_proposals(load_config(path).model)
    assert "num_classes" in message(check_classes, model, Data(("one",)), "train_dataloader")
    assert warn_of_ignored(load_config(path), Data(filters={"min_width": 3})) is None


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


@pytest.mark.parametrize(("size", "warning"), [
    ((120, 160), None),
    ((128, 160), None),  # makes the images 6.7 % too high: no warning below 10 %
    ((160, 120), r"image_size=\(160, 120\) \(height, width\) stretches 100.0% of the images, .*"
                 r"makes 1.78 times too high"),
])  # fmt: skip
def test_a_swapped_image_size_is_warned_of(tmp_path, size, warning):
    """The images are 4 : 3, the swapped size is 3 : 4; their ratio is 16 / 9 = 1.78."""
    write_frames(tmp_path / "d", {"train": {"a": 2}})
    index = index_of(tmp_path / "d", tmp_path / "i.arrow", "train")
    pipeline = [LoadReducedImage(image_size=size)]
    with DefaultScope.overwrite_default_scope("mmdet"):
        data = FrameDetection(index=index, scenes="train", filters={}, pipeline=pipeline)
    found = warn_of_stretch(SeededDataset(dataset=data))
    assert found is None if warning is None else re.search(warning, found)


def test_nothing_to_evaluate(tmp_path):
    """An index of a folder of images has no boxes."""
    cv2.imwrite(str(tmp_path / "0.png"), np.zeros((24, 32, 3), np.uint8))
    index = build_frames_index([tmp_path], tmp_path / "index.arrow")
    data = FrameDetection(index=index, filters={}, test_mode=True)
    assert "index.arrow has no boxes in the chosen scenes, so that there is nothing to" in message(
        check_evaluator, {"type": "drivemim.DetectionAP"}, data, "test_evaluator"
    )
    check_evaluator({"type": "CocoMetric"}, data, "test_evaluator")


def test_an_evaluator_with_another_file_than_the_data_set_is_refused(tmp_path):
    data = Data(ann_file=str(tmp_path / "val.json"))
    evaluator = dict(type="CocoMetric", ann_file=str(tmp_path / "x" / ".." / "val.json"))
    check_evaluator([evaluator], SeededDataset(dataset=data), "val_evaluator")
    check_evaluator(dict(type="CocoMetric"), data, "val_evaluator")
    evaluator["ann_file"] = str(tmp_path / "train.json")
    found = message(check_evaluator, [evaluator], data, "val_evaluator")
    assert found.startswith(f"val_evaluator.ann_file={tmp_path / 'train.json'}, but the data set")


def test_a_detector_that_would_train_ignored_objects_as_background_is_warned_of():
    config = load_config(ROOT / "configs/detection/retinanet_resnet50_nuscenes.py")
    data = Data(filters={"min_width": 3})
    config.model.train_cfg.assigner.ignore_iof_thr = -1
    assert "MaxIoUAssigner trains objects" in warn_of_ignored(config, data)
    assert warn_of_ignored(config, Data(filters={})) is None
    config = load_config(ROOT / "configs/detection/fcos_resnet50_nuscenes.py")
    config.model.bbox_head.type = "FCOSHead"
    assert "the head trains objects" in warn_of_ignored(config, data)


def test_different_image_sizes_in_training_and_evaluation_are_warned_of():
    config = load_config(ROOT / "configs/detection/retinanet_resnet50_nuscenes.py")
    loaders = ("train_dataloader", "test_dataloader")
    assert warn_of_sizes(config, loaders) is None
    config.test_dataloader.dataset.pipeline[0].image_size = (192, 320)
    assert warn_of_sizes(config, loaders) == (
        "frames are read at different sizes (height, width): train_dataloader at [(448, 800)], "
        "test_dataloader at [(192, 320)]"
    )
    assert warn_of_sizes(Config(dict()), loaders) is None


def test_a_learning_rate_that_is_scaled_with_the_batch_needs_a_base_batch_size():
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


def check_counts(counts, epoch, **loop):
    config = Config({"train_cfg": loop, "optim_wrapper": {"accumulative_counts": counts}})
    check_updates(config, training_length(config, epoch))


@pytest.mark.parametrize(("counts", "epoch", "fitting"), [
    (4, 10, "2 or 5"), (7, 6, "6"), (2, 7, "1 or 7"),
])  # fmt: skip
def test_epochs_of_whole_updates(counts, epoch, fitting):
    loop = {"type": "EpochBasedTrainLoop", "max_epochs": 2}
    with pytest.raises(ConfigError) as error:
        check_counts(counts, epoch, **loop)
    assert str(error.value) == (
        f"optim_wrapper.accumulative_counts={counts} does not divide the {epoch} iterations of an "
        "epoch: a run that is resumed after an epoch would lose gradients; set it to "
        f"{fitting}, or change train_dataloader.batch_size so that an epoch has a multiple of "
        f"{counts} iterations"
    )
    check_counts(counts, counts * epoch, **loop)
    check_counts(1, epoch, **loop)
    check_counts(counts, epoch, type="IterBasedTrainLoop", max_iters=8)
    check_counts(counts, None, **loop)  # an iterable data set has no known length


def test_epochs_that_end_between_two_updates_are_refused(tmp_path):
    """Four images are two batches of two; an update needs three batches."""
    options = {
        "model.backbone.init_cfg": None,
        "train_cfg": {"_delete_": True, "type": "EpochBasedTrainLoop", "max_epochs": 3},
        "train_dataloader.sampler.type": "DefaultSampler",
        "default_hooks.checkpoint.by_epoch": True,
        "default_hooks.checkpoint.interval": 1,
        "optim_wrapper.accumulative_counts": 3,
    }
    with pytest.raises(ConfigError, match=r"divide the 2 iterations of an epoch: .* set it to 2"):
        train(TOYS / "detector.py", work_dir=tmp_path / "run", options=options)
    assert not (tmp_path / "run").exists()


def test_a_scaled_rate_without_its_batch_is_refused_before_anything_is_written(tmp_path):
    options = {"model.backbone.init_cfg": None, "auto_scale_lr": {"enable": True}}
    with pytest.raises(ConfigError, match="base_batch_size=None"):
        train(TOYS / "detector.py", work_dir=tmp_path / "run", options=options)
    assert not (tmp_path / "run").exists()


def test_images_that_are_trained_on_and_evaluated_on_are_counted(tmp_path):
    """Folder b has two images of its own and a copy of an image of a; c shares no image."""
    for name, value in {"a/0": 1, "a/1": 2, "b/0": 3, "b/1": 4, "b/x": 2, "c/0": 5}.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        cv2.imwrite(str(tmp_path / f"{name}.png"), np.full((30, 40, 3), value, np.uint8))
    index = build_frames_index([tmp_path], tmp_path / "index.arrow")

    def frames(scenes):
        data = FrameDetection(index=index, scenes=scenes, filters={}, test_mode=True)
        return SeededDataset(dataset=data)

    names = ("train_dataloader", "val_dataloader")
    assert warn_of_copies(frames("a"), frames("b"), names) == (
        "1 of the 3 images of val_dataloader are also images of train_dataloader (1 of them as "
        "copies), first b/x.png: results on val_dataloader are partly results on training images"
    )
    both = warn_of_copies(frames(["a", "b"]), frames(["b", "c"]), names)
    assert both is not None
    assert both.startswith("3 of the 4 images of val_dataloader are also images of "
                           "train_dataloader (0 of them as copies), first b/0.png")  # fmt: skip
    assert warn_of_copies(frames(["a", "b"]), frames("c"), names) is None
    assert warn_of_copies(Data(), frames("c"), names) is None


def test_images_of_two_indices_are_counted(tmp_path):
    """Of the three images of b, one is a copy of a's image and one of c's; a and c are trained."""
    for name, value in {"a/0": 1, "c/0": 2, "b/0": 1, "b/1": 2, "b/2": 3}.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        cv2.imwrite(str(tmp_path / f"{name}.png"), np.full((30, 40, 3), value, np.uint8))

    def frames(folder):
        index = build_frames_index([tmp_path / folder], tmp_path / f"{folder}.arrow")
        return FrameDetection(index=index, filters={}, test_mode=True)

    learned = ConcatDataset([frames("a"), frames("c")])
    assert warn_of_copies(learned, frames("b"), ("train_dataloader", "val_dataloader")) == (
        "2 of the 3 images of val_dataloader are also images of train_dataloader (2 of them as "
        "copies), first 0.png: results on val_dataloader are partly results on training images"
    )


def test_epochs_that_never_end_are_refused():
    loop = {"type": "EpochBasedTrainLoop", "max_epochs": 3}
    length = training_length(Config({"train_cfg": loop}), 5)
    with pytest.raises(ConfigError, match="SeededInfiniteSampler never ends an epoch, but"):
        check_epochs(SeededInfiniteSampler(range(4), seed=0), length)
    check_epochs(torch.utils.data.SequentialSampler(range(4)), length)
    check_epochs(SeededInfiniteSampler(range(4), seed=0), None)
