import json
import logging
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.dataset import ConcatDataset
from seen_data import index_of, metadata_of, write_backbone, write_frames

import drivemim.training.seen_evaluation as module
from drivemim.data import ClipDataset
from drivemim.data.detection.detection_dataset import FrameDetection
from drivemim.data.index.frame_index import FrameIndex
from drivemim.training.run import train
from drivemim.training.seen_evaluation import describe_seen, warn_of_seen_images
from drivemim.transfer.exporting import export_backbone
from drivemim.transfer.exposure import record_of
from drivemim.transfer.frames_seen import KnownFrames

SPLITS = {"train": {"a": 6, "b": 4}, "val": {"c": 5}}
META_KEYS = ("frame_token", "ori_shape", "img_shape", "scale_factor")
SEEN = "were seen by the backbone's pretraining, which makes the evaluation transductive"


@pytest.fixture
def labelled(tmp_path):
    write_frames(tmp_path / "data", SPLITS)
    return index_of(tmp_path / "data", tmp_path / "labelled.arrow", "train", "val")


def detection(index, scenes):
    return FrameDetection(index=index, scenes=scenes, filters={}, test_mode=True)


def test_a_detector_from_a_backbone_that_saw_the_evaluated_images_is_warned_of(
    repository, labelled, tmp_path, capsys
):
    configs = repository / "tests" / "toys" / "configs"
    train(configs / "resnet.py", work_dir=tmp_path / "pretraining")
    metadata = export_backbone(tmp_path / "pretraining" / "iter_2.pth", tmp_path / "b.safetensors")
    metadata["data"] = metadata_of({"index": str(labelled), "scenes": ["c"]})["data"]
    content = torch.load(tmp_path / "b.pth", weights_only=False)
    content["meta"]["drivemim"] = json.loads(json.dumps(metadata))
    torch.save(content, tmp_path / "b.pth")
    data = {
        "type": "drivemim.FrameDetection", "index": str(labelled), "filters": {},
        "test_mode": True,
        "pipeline": [
            {"type": "LoadImageFromFile"},
            {"type": "Resize", "scale": (96, 72)},
            {"type": "PackDetInputs", "meta_keys": META_KEYS},
        ],
    }  # fmt: skip
    val = {"batch_size": 1, "num_workers": 0, "sampler": {"type": "DefaultSampler"}}
    options = {
        "val_dataloader": {**val, "dataset": {**data, "scenes": "val"}},
        "test_dataloader": {**val, "dataset": {**data, "scenes": ["b", "c"]}},
        "val_evaluator": {"type": "drivemim.CountImages"}, "val_cfg": {"type": "ValLoop"},
    }  # fmt: skip
    for key in ("backbone_checkpoint", "model.backbone.init_cfg"):
        path = str(tmp_path / "b.pth")
        start = path if key[0] == "b" else {"type": "Pretrained", "checkpoint": path}
        capsys.readouterr()
        train(configs / "detector.py", work_dir=tmp_path / key, options={**options, key: start})
        lines = [line for line in capsys.readouterr().out.splitlines() if "transductive" in line]
        (line,) = lines
        assert "WARNING" in line
        assert line.endswith(
            f"5 of the 5 images of val_dataloader and 5 of the 9 images of test_dataloader {SEEN}"
        )


def test_boxes_that_were_read_are_counted_and_other_data_sets_are_skipped(labelled):
    saw = metadata_of({"index": str(labelled), "scenes": ["b", "c"]}, masking="ObjectMask")
    record, other = record_of(saw), SimpleNamespace(metainfo={}, ann_file="val.json")
    both = ConcatDataset.__new__(ConcatDataset)
    both.datasets = [detection(labelled, "train"), other]
    clips = ClipDataset(index=labelled, image_size=(240, 320), scenes="val")
    assert describe_seen(record, {"val_dataloader": both, "test_dataloader": clips}) == (
        f"4 of the 10 images of val_dataloader and 5 of the 5 images of test_dataloader {SEEN}; it "
        "read the annotated boxes of 4 images of val_dataloader and 5 images of test_dataloader "
        "(ObjectMask)"
    )
    assert describe_seen(record, {"val_dataloader": detection(labelled, "a")}) is None
    assert describe_seen(record, {"val_dataloader": other}) is None


def test_images_that_several_parts_have_are_counted_once(labelled, tmp_path):
    saw = metadata_of({"index": str(labelled), "scenes": ["b", "c"]}, masking="ObjectMask")
    linked = tmp_path / "linked.arrow"
    linked.symlink_to(labelled)
    parts = [("val", labelled), ("c", labelled), ("c", linked), (["b", "c"], labelled)]
    both = ConcatDataset.__new__(ConcatDataset)
    for count, (images, read) in {1: (5, 5), 2: (5, 5), 3: (5, 5), 4: (9, 9)}.items():
        both.datasets = [detection(index, scenes) for scenes, index in parts[:count]]
        assert describe_seen(record_of(saw), {"val_dataloader": both}) == (
            f"{images} of the {images} images of val_dataloader {SEEN}; it read the annotated "
            f"boxes of {read} images of val_dataloader (ObjectMask)"
        )


@pytest.mark.parametrize("oddity", ["nothing", "no record", "seen", "cameras", "data", "gone"])
def test_missing_or_malformed_records_cause_no_warning(labelled, tmp_path, monkeypatch, oddity):
    metadata = metadata_of({"index": str(labelled)})
    part = metadata["data"][0]
    if oddity == "no record":
        metadata = None
    elif oddity == "seen":
        part["seen"] = {"contents": {"annotated": 3}, "scenes": None}
    elif oddity == "cameras":
        metadata["data"] = [{"index": None}]
    elif oddity == "data":
        metadata["data"] = 7
    path = write_backbone(tmp_path / "b.safetensors", metadata)
    if oddity == "gone":
        path.unlink()
    dataset = detection(labelled, "val")
    loop = SimpleNamespace(dataloader=SimpleNamespace(dataset=dataset))
    runner = SimpleNamespace(cfg=Config(), _train_loop=None, _val_loop=loop, _test_loop=None)
    lines = []

    def print_log(line, logger, level=logging.INFO):
        lines.append((level, line))

    monkeypatch.setattr(module, "print_log", print_log)
    warn_of_seen_images(runner, path)
    warnings = [line for level, line in lines if level >= logging.WARNING]
    assert warnings == ([f"5 of the 5 images of val_dataloader {SEEN}"] * (oddity == "nothing"))
    was_unread = [line for _, line in lines if line.startswith("it was not checked")]
    assert len(was_unread) == (oddity in ("seen", "data", "gone"))


def test_files_of_too_many_frames_are_not_read(labelled, monkeypatch):
    index, rows = FrameIndex.open(labelled), np.arange(5)
    monkeypatch.setattr(FrameIndex, "image_path", None)
    frames = KnownFrames(index, rows, max_files=4)
    assert not frames.readable.any()
    with pytest.raises(TypeError):
        KnownFrames(index, rows, max_files=5).readable  # noqa: B018
