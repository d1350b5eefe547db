"""Runs whose target is a frozen teacher: its weights, and what it has seen."""

import shutil

import numpy as np
import pytest
import torch
from colour_frames import write_colour_frames, write_small_config

from drivemim.data.index.frame_index import FrameIndex
from drivemim.errors import CheckpointError, ConfigError
from drivemim.training.run import train
from drivemim.transfer.exporting import export_backbone, read_export
from drivemim.transfer.exposure import read_record
from drivemim.transfer.frames_seen import KnownFrames


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("teachers")


@pytest.fixture(scope="module")
def config(repository, folder):
    return write_small_config(repository, write_colour_frames(folder), folder / "small.py")


@pytest.fixture(scope="module")
def teacher(config, folder):
    """Export of a backbone that was pretrained on the frames of ``val``."""
    options = {"train_dataloader.dataset.scenes": "val"}
    train(config, work_dir=folder / "first", iterations=2, options=options)
    export_backbone(folder / "first" / "iter_2.pth", folder / "teacher.safetensors")
    return folder / "teacher.safetensors"


def frozen(checkpoint):
    return {
        "model.target": {
            "_delete_": True, "type": "FeatureTarget", "checkpoint": str(checkpoint),
            "teacher": {
                "type": "ViT", "embed_dims": 16, "depth": 3, "num_heads": 2, "patch_size": 8,
                "out_indices": (0, 2),
            },
        },
    }  # fmt: skip


@pytest.fixture(scope="module")
def run(config, teacher, folder):
    train(config, work_dir=folder / "second", iterations=2, options=frozen(teacher))
    return folder / "second"


def test_the_teacher_has_the_exports_weights(run, teacher):
    """The teacher keeps them until the end of the run, while the encoder changes."""
    state = torch.load(run / "iter_2.pth", weights_only=False)["state_dict"]
    weights, _ = read_export(teacher)
    for name, value in weights.items():
        assert torch.equal(state[f"target.teacher.{name}"], value), name
    assert not torch.equal(state["encoder.norm.bias"], weights["norm.bias"])
    (log,) = run.glob("*/*.log")
    said = f"model.target: Loaded all {len(weights)} tensors of {teacher}; features equal the pre"
    assert said in log.read_text()


def test_initial_weights_of_a_run_do_not_replace_another_teacher(config, run, teacher, folder):
    """The checkpoint of a run, given as ``--init``, also contains the teacher of that run."""
    weights, _ = read_export(teacher)
    other = {name: value + 1 for name, value in weights.items()}
    torch.save({"state_dict": other}, folder / "other.pth")
    from_a_run = folder / "from_a_run"
    train(config, work_dir=from_a_run, iterations=2, init=run / "iter_2.pth",
          options=frozen(folder / "other.pth"))  # fmt: skip
    state = torch.load(from_a_run / "iter_2.pth", weights_only=False)["state_dict"]
    for name, value in other.items():
        assert torch.equal(state[f"target.teacher.{name}"], value), name


def test_images_that_the_teacher_saw_are_images_that_the_student_saw(run, folder):
    """The student's pretraining saw the frames of ``train``, the teacher's those of ``val``."""
    recipe = export_backbone(run / "iter_2.pth", folder / "student.safetensors")["recipe"]
    assert recipe["started_from"] == str(folder / "teacher.safetensors")
    index = FrameIndex.open(folder / "index.arrow")
    record = read_record(folder / "student.safetensors")
    for name in ("train", "val"):
        frames = KnownFrames(
            index, np.flatnonzero(np.isin(index.frames.scene, index.scene_rows(name)))
        )
        assert record.exposure(frames).images == 6


def test_a_resumed_run_does_not_need_the_teachers_file(config, run, teacher, folder):
    shutil.copytree(run, folder / "third")
    moved = folder / "moved.safetensors"
    options = frozen(moved)
    teacher.rename(moved)
    options["model.target"]["checkpoint"] = str(teacher)
    try:
        train(config, work_dir=folder / "third", iterations=4, resume=True, options=options)
    finally:
        moved.rename(teacher)
    old, new = (
        torch.load(path, weights_only=False)["state_dict"]
        for path in (run / "iter_2.pth", folder / "third" / "iter_4.pth")
    )
    names = [name for name in old if name.startswith("target.teacher.")]
    assert names
    assert all(torch.equal(old[name], new[name]) for name in names)


def test_a_resumed_run_keeps_its_teacher(config, run, teacher, folder):
    shutil.copytree(run, folder / "fourth")
    weights, _ = read_export(teacher)
    torch.save({"state_dict": {name: each + 1 for name, each in weights.items()}}, folder / "b.pth")
    train(config, work_dir=folder / "fourth", iterations=3, resume=True, options=frozen(teacher))
    options = frozen(folder / "b.pth")
    with pytest.raises(
        ConfigError, match=r"model\.target\.checkpoint=.*b\.pth has another teacher"
    ):
        train(config, work_dir=folder / "fourth", iterations=4, resume=True, options=options)


def test_an_average_follows_the_updates_of_the_weights(config, folder):
    """Six iterations with gradients of three batches are two updates; the first is a copy."""
    options = {
        "model.target": {"_delete_": True, "type": "FeatureTarget", "momentum": 0.5},
        "optim_wrapper.accumulative_counts": 3,
        "default_hooks.checkpoint.interval": 3,
        "custom_hooks": [],  # no EMAHook, which would save averages in place of the weights
    }
    train(config, work_dir=folder / "accumulated", iterations=6, options=options)
    paths = [folder / "accumulated" / f"iter_{number}.pth" for number in (3, 6)]
    first, last = (torch.load(path, weights_only=False)["state_dict"] for path in paths)
    assert (first["target.updates"], last["target.updates"]) == (1, 2)
    # The second update comes before the fourth iteration, with the weights after the first step.
    name = "norm.bias"
    begin, stepped = first[f"target.teacher.{name}"], first[f"encoder.{name}"]
    assert not torch.equal(begin, stepped)
    torch.testing.assert_close(last[f"target.teacher.{name}"], (begin + stepped) / 2)


def test_files_that_are_missing_or_do_not_fit_are_refused(config, teacher, folder, tmp_path):
    with pytest.raises(FileNotFoundError, match=r"model\.target\.checkpoint: .*none\.pth"):
        train(config, work_dir=tmp_path / "a", options=frozen(folder / "none.pth"))
    options = frozen(teacher)
    options["model.target"]["teacher"]["embed_dims"] = 32
    with pytest.raises(CheckpointError, match=r"teacher\.safetensors does not fit"):
        train(config, work_dir=tmp_path / "b", iterations=2, options=options)
    options = {**frozen(teacher), "model.data_preprocessor.mean": (1.0, 2.0, 3.0)}
    with pytest.raises(CheckpointError, match="features are not the pretrainer's"):
        train(config, work_dir=tmp_path / "c", iterations=2, options=options)
    assert not list(tmp_path.iterdir())


def test_an_average_is_resumed(config, folder):
    options = {"model.target": {"_delete_": True, "type": "FeatureTarget", "momentum": 0.5}}
    train(config, work_dir=folder / "whole", iterations=4, options=options)
    options["default_hooks.checkpoint.interval"] = 2
    train(config, work_dir=folder / "parts", iterations=4, options=options)
    (folder / "parts" / "iter_4.pth").unlink()
    train(config, work_dir=folder / "parts", iterations=4, options=options, resume=True)
    states = [
        torch.load(folder / run / "iter_4.pth", weights_only=False)["state_dict"]
        for run in ("whole", "parts")
    ]
    assert any(name.startswith("target.teacher.") for name in states[0])
    assert all(torch.equal(value, states[1][name]) for name, value in states[0].items())
