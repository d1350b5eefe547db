"""Pretraining on a folder: what is chosen by the data, what is refused, and the command."""

import math
import signal

import cv2
import numpy as np
import pytest
import torch
from mmengine.config import Config
from seen_data import index_of, write_frames

import drivemim
from drivemim.config.loading import load_config
from drivemim.data.index.builders.frames import build_frames_index
from drivemim.data.index.frame_index import FrameIndex
from drivemim.errors import CheckpointError, ConfigError, DataError, RunStopped
from drivemim.town import generate_town
from drivemim.training.data_choice import DataSource, options_of_data
from drivemim.training.run_time import IterationTimes, iterations_in
from drivemim.training.start_weights import set_initial_weights

DATA = "train_dataloader.dataset"
SMALL = {f"{DATA}.image_size": (64, 96)}


def write_images(folder, size=(240, 480), count=6):
    """Write images with different pixels into a new folder."""
    folder.mkdir(parents=True)
    for number in range(count):
        pixels = np.random.default_rng(number).integers(0, 256, (*size, 3), np.uint8)
        cv2.imwrite(str(folder / f"{number}.jpg"), pixels)
    return folder


@pytest.fixture(scope="module")
def drives(tmp_path_factory):
    return write_images(tmp_path_factory.mktemp("data") / "drives")


@pytest.fixture(scope="module")
def finished(drives, tmp_path_factory):
    """A run of two iterations on a folder."""
    work_dir = tmp_path_factory.mktemp("runs") / "first"
    return drivemim.pretrain(data=drives, work_dir=work_dir, iterations=2)


def chosen(index, config="vit_micro_frames", scenes=None, **options):
    return options_of_data(index, load_config(config, options), config, options, scenes)


def test_a_folder_is_enough(finished, drives):
    assert finished.iteration == 2
    assert len(FrameIndex.open(finished.work_dir / "index.arrow").frames) == 6
    config = Config.fromfile(finished.work_dir / "vit_micro_frames.py")
    # The images are twice as wide as high. Of such sizes in multiples of 16, 192x384 is nearest to
    # the 71,680 pixels of the config's 224x320.
    assert config.train_dataloader.dataset.image_size == (192, 384)
    assert config.param_scheduler[-1]["end"] == config.train_cfg.max_iters == 2
    assert not list(drives.glob("*.arrow"))


def test_an_image_size_that_was_given_stays(finished):
    index = drivemim.open_index(finished.work_dir / "index.arrow")
    given = chosen(index, **SMALL)
    assert given == {f"{DATA}.index": str(index.path)}
    assert chosen(index)[f"{DATA}.image_size"] == (192, 384)


def test_images_of_the_same_proportions_keep_the_size(tmp_path):
    write_images(tmp_path / "d", size=(225, 325), count=2)
    index = DataSource(tmp_path / "d").open(tmp_path / "run")
    assert f"{DATA}.image_size" not in chosen(index)


def line_of(said, start):
    (line,) = [line for line in said.splitlines() if f"{start}: " in line]
    return line[line.index(start) :]


def test_scenes_that_detectors_are_evaluated_on_are_left_out(tmp_path, capsys):
    write_frames(tmp_path / "d", {"train": {"a": 2}, "val": {"b": 1}, "more": {"c": 1}})
    index = FrameIndex.open(index_of(tmp_path / "d", tmp_path / "i.arrow", "train", "val", "more"))
    assert chosen(index)[f"{DATA}.scenes"] == ["more:*", "train:*"]
    assert line_of(capsys.readouterr().out, "scenes") == (
        "scenes: 2 of 3, without those for the evaluation of detectors (val); --scenes takes others"
    )
    assert chosen(index, scenes=["val"])[f"{DATA}.scenes"] == ["val"]
    assert f"{DATA}.scenes" not in chosen(index, **{f"{DATA}.scenes": "val"})
    with pytest.raises(ConfigError, match="--scenes and --cfg-options"):
        chosen(index, scenes=["val"], **{f"{DATA}.scenes": "val"})
    with pytest.raises(DataError, match="nowhere"):
        chosen(index, scenes=["nowhere"])
    # The split of this config is not in the data, so it does not select scenes.
    assert chosen(index, "vit_micro_town")[f"{DATA}.scenes"] == ["more:*", "train:*"]


def test_an_ambiguous_name_of_a_config_is_not_replaced_by_other_scenes(tmp_path):
    """The config's ``mini_train`` names both a split and a scene of another split."""
    write_frames(tmp_path / "d", {"mini_train": {"a": 2}, "more": {"mini_train": 1}})
    index = FrameIndex.open(index_of(tmp_path / "d", tmp_path / "i.arrow", "mini_train", "more"))
    with pytest.raises(DataError, match="'mini_train' is the name of a split and of a scene"):
        chosen(index, "vit_micro_town")


def test_official_splits_of_nuscenes_are_known(tmp_path, capsys):
    root = generate_town(
        tmp_path / "town", scenes=2, seconds=0.5, sweep_rate=2.0, image_size=(96, 160), seed=3
    )
    index = DataSource(root).open(tmp_path / "run")
    assert not any(index.scenes.split)
    assert chosen(index)[f"{DATA}.scenes"] in (["train"], ["mini_train"])
    said = line_of(capsys.readouterr().out, "scenes")
    assert said.startswith("scenes: 1 of 2, without those for the evaluation of detectors (")
    assert said.endswith("(nuScenes' val); --scenes takes others")
    assert len(index.scene_rows("train")) == len(index.scene_rows("mini_train")) == 1
    assert f"{DATA}.scenes" not in chosen(index, "vit_micro_nuscenes")  # it has scenes of its own


@pytest.mark.parametrize(
    ("split", "is_for_evaluation"),
    [
        ("valid", True), ("Val", True), ("instances_val2017", True), ("testing", True),
        ("val_images", True), ("validation_set", True), ("test-dev", True), ("imagesVal", True),
        ("VisDrive-val", True), ("test2017", True), ("valset", True), ("TestA", True),
        ("valley", False), ("latest", False), ("testarossa", False), ("test-drives", False),
        ("train", False), ("evaluated", False), ("contest", False), ("interval", False),
    ],
)  # fmt: skip
def test_splits_for_evaluation_are_known_by_their_words(tmp_path, split, is_for_evaluation):
    write_frames(tmp_path / "d", {"more": {"a": 1}, split: {"b": 1}})
    index = FrameIndex.open(index_of(tmp_path / "d", tmp_path / "i.arrow", "more", split))
    assert chosen(index).get(f"{DATA}.scenes") == (["more:*"] if is_for_evaluation else None)


def test_folders_for_evaluation_are_known_by_the_same_words(tmp_path):
    left_out = ("val2017", "test2017", "val_images", "VisDrive-val", "test-dev", "Val")
    kept = ("contest", "latest", "testarossa", "train2017", "valley")
    for name in (*left_out, *kept):
        write_images(tmp_path / "d" / name, size=(225, 325), count=1)
    index = DataSource(tmp_path / "d").open(tmp_path / "run")
    assert sorted(chosen(index)[f"{DATA}.scenes"]) == [f":{name}" for name in kept]


def test_leaving_out_all_folders_for_evaluation_is_an_error(tmp_path, capsys):
    for name in ("images/val/a", "images/train/a", "test_drive"):
        write_images(tmp_path / "d" / name, size=(225, 325), count=1)
    source = DataSource(tmp_path / "d")
    index = source.open(tmp_path / "run")
    assert sorted(chosen(index)[f"{DATA}.scenes"]) == [":images/train/a", ":test_drive"]
    assert "of detectors (images/val/a); --scenes" in line_of(capsys.readouterr().out, "scenes")
    whole = DataSource(tmp_path / "d" / "images")
    only = whole.open(tmp_path / "other")
    assert chosen(only)[f"{DATA}.scenes"] == [":train/a"]
    alone = write_images(tmp_path / "e" / "val", size=(225, 325), count=1).parent
    index = DataSource(alone).open(tmp_path / "third")
    with pytest.raises(DataError, match=r"all of its scenes are for .*\(val\).*--scenes"):
        chosen(index)


def test_the_size_follows_the_cameras_that_are_used(tmp_path):
    write_images(tmp_path / "d" / "wide", count=4)
    write_images(tmp_path / "d" / "near", size=(225, 325), count=1)
    index = DataSource(tmp_path / "d").open(tmp_path / "run")
    assert chosen(index)[f"{DATA}.image_size"] == (192, 384)
    assert f"{DATA}.image_size" not in chosen(index, scenes=["near"])


def test_a_dict_of_options_is_refused(finished):
    index = drivemim.open_index(finished.work_dir / "index.arrow")
    with pytest.raises(ConfigError, match="give its keys one by one, such as"):
        chosen(index, **{DATA: {"image_size": (64, 64)}})


def test_a_folder_with_tables_of_several_versions_needs_an_index(tmp_path):
    for version in ("v1.0-mini", "v1.0-trainval"):
        (tmp_path / version).mkdir()
        (tmp_path / version / "sample_data.json").write_text("[]")
    with pytest.raises(DataError, match=r"several versions \(v1.0-mini, v1.0-trainval\)"):
        DataSource(tmp_path).open(tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_a_rig_is_recognised(tmp_path):
    (tmp_path / "scene").mkdir()
    (tmp_path / "rigs" / "day" / "scene").mkdir(parents=True)
    for path in (tmp_path, tmp_path / "scene", tmp_path / "rigs" / "day" / "scene"):
        calibration = path / "calibration.json"
        calibration.write_text("{}")
        assert DataSource(tmp_path)._kind() == ("rig", None)
        calibration.unlink()
    assert DataSource(tmp_path)._kind() == ("frames", None)


@pytest.mark.parametrize(
    ("arguments", "error", "said"),
    [
        ({}, ConfigError, "needs a config, or data=..."),
        ({"config": "vit_micro_frames", "scenes": "a"}, ConfigError, "scenes=... needs data"),
        ({"data": ".", "index": "i.arrow"}, ConfigError, "data=... and index=...: give one"),
        ({"data": ".", "iterations": 2, "hours": 1.0}, ConfigError, "iterations and hours"),
        ({"data": "none"}, FileNotFoundError, "no folder or index at none"),
        ({"data": "configs", "config": "fcos_resnet50_nuscenes"}, ConfigError, "not a pretraining"),
        ({"data": "README.md"}, DataError, "neither a folder nor an index"),
    ],
)  # fmt: skip
def test_arguments_that_do_not_fit_are_refused(repository, monkeypatch, arguments, error, said):
    monkeypatch.chdir(repository)
    with pytest.raises(error, match=said):
        drivemim.pretrain(**arguments)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"hours": 0.0}, r"hours=0\.0 must be"),
        ({"hours": 1.0, "options": {"train_cfg.max_iters": 9}}, "hours and options"),
        ({"iterations": 0}, "iterations=0"),
        ({"iterations": 2, "options": {"train_cfg.max_iters": 9}}, "iterations and options"),
        ({"options": {"train_cfg.max_iters": 9}}, "Set what belongs together"),
        ({"init": "none.pth"}, "no weights file"),
        ({"loggers": ["wandb"]}, "logger wandb needs the package wandb"),
        ({"options": {"load_from": "none.pth"}}, "no weights file"),
        ({"options": {"optim_wrapper.accumulative_counts": 3}}, "accumulative_counts"),
        ({"options": {"modle.seed": 1}}, "did you mean .model."),
        ({"options": {f"{DATA}.index": "i.arrow"}}, "the data is named; leave it out"),
        ({"options": {f"{DATA}.scenes": "a"}, "scenes": "b"}, "give one"),
        ({"amp": True, "options": {"optim_wrapper.type": "Own"}}, "amp replaces OptimWrapper"),
    ],
)  # fmt: skip
def test_errors_that_do_not_depend_on_the_data_come_before_indexing(
    drives, tmp_path, monkeypatch, arguments, said
):
    monkeypatch.setattr(DataSource, "open", None)
    with pytest.raises((ConfigError, FileNotFoundError), match=said):
        drivemim.pretrain(data=drives, work_dir=tmp_path / "run", **arguments)
    assert not (tmp_path / "run").exists()


def test_an_earlier_run_keeps_its_index(finished, tmp_path):
    index = finished.work_dir / "index.arrow"
    before = index.read_bytes()
    other = write_images(tmp_path / "other", count=3)
    with pytest.raises(ConfigError, match="checkpoints of an earlier run"):
        drivemim.pretrain(data=other, work_dir=finished.work_dir, iterations=2)
    with pytest.raises(FileNotFoundError, match="no weights file"):
        drivemim.pretrain(
            data=other, work_dir=finished.work_dir, iterations=2, overwrite=True, init="none.pth"
        )
    with pytest.raises(ConfigError, match="accumulative_counts"):
        drivemim.pretrain(
            data=other, work_dir=finished.work_dir, iterations=2, overwrite=True,
            options={"optim_wrapper.accumulative_counts": 3},
        )  # fmt: skip
    assert not (finished.work_dir / "index_2.arrow").exists()
    with pytest.raises(DataError, match="nowhere"):
        drivemim.pretrain(
            data=other, work_dir=finished.work_dir, iterations=2, overwrite=True, scenes="nowhere"
        )
    assert len(FrameIndex.open(finished.work_dir / "index_2.arrow").frames) == 3
    assert index.read_bytes() == before
    with pytest.raises(ConfigError, match="the earlier run is on another folder than"):
        drivemim.pretrain(data=other, work_dir=finished.work_dir, iterations=2, resume=True)


def test_other_data_for_a_complete_run_are_refused(finished, tmp_path):
    """They would not be used, and the export of the earlier run would be written again."""
    other = build_frames_index([write_images(tmp_path / "other")], tmp_path / "other.arrow")
    with pytest.raises(ConfigError, match=r"has a complete run on .*index\.arrow, not on .*other"):
        drivemim.pretrain(data=other, work_dir=finished.work_dir, resume=True)


def test_a_run_goes_on_with_its_index_and_length(finished, drives, capsys):
    before = (finished.work_dir / "index.arrow").stat().st_mtime_ns
    again = drivemim.pretrain(data=drives, work_dir=finished.work_dir, resume=True, hours=9.0)
    assert again.checkpoint == finished.checkpoint
    assert "length: 2 iterations, as the run began" in capsys.readouterr().out
    assert (finished.work_dir / "index.arrow").stat().st_mtime_ns == before


def test_the_command_ends_with_a_backbone_and_starts_from_one(
    drives, finished, tmp_path, monkeypatch, capsys
):
    from drivemim.cli import main

    drivemim.export_backbone(finished.checkpoint, tmp_path / "before.safetensors")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.argv", [
        "drivemim", "pretrain", str(drives), "--iterations", "2", "--init", "before.safetensors",
    ])  # fmt: skip
    main()
    said = capsys.readouterr().out
    assert "work_dirs/drives/backbone.safetensors: the backbone after 2 iterations" in said
    assert "recipe: vit_micro_frames" in said or torch.cuda.is_available()
    backbone = drivemim.load_backbone("work_dirs/drives/backbone.safetensors")
    levels = backbone(torch.zeros(1, 3, 192, 384))
    assert all(torch.isfinite(level).all() for level in levels)
    card = (tmp_path / "work_dirs/drives/backbone.md").read_text()
    assert "before.safetensors" in card


def test_initial_weights_are_those_of_the_backbone():
    pretrainer = Config({"model": {"type": "MaskedPretrainer", "encoder": {}}})
    detector = Config({"model": {"type": "mmdet.FCOS", "backbone": {}}})
    for config, key in ((pretrainer, "load_from"), (detector, "backbone_checkpoint")):
        set_initial_weights(config, __file__, {})
        assert config[key] == __file__
        with pytest.raises(ConfigError, match=f"--init and --cfg-options {key}=x"):
            set_initial_weights(config, __file__, {key: "x"})


def test_weights_without_a_tensor_of_the_backbone_are_an_error_before_the_index(
    drives, tmp_path, monkeypatch
):
    monkeypatch.setattr(DataSource, "open", None)
    torch.save({"state_dict": {"fc.weight": torch.zeros(3)}}, tmp_path / "other.pth")
    with pytest.raises(CheckpointError):
        drivemim.pretrain(
            data=drives, work_dir=tmp_path / "run", init=tmp_path / "other.pth", iterations=2
        )
    assert not (tmp_path / "run").exists()


def test_mean_time_waiting_and_rate_of_the_iterations():
    hook = IterationTimes(2)
    hook.ends = [10.0, 20.0, 30.0, 30.5, 31.5, 33.0]  # 3 s for 3 iterations after the first ones
    assert hook.seconds == 1.0
    hook.waits = [8.0, 9.0, 7.0, 0.25, 0.5, 0.0]  # 0.75 s of the last 3 s
    assert hook.waiting == 0.25
    assert math.isnan(hook.frames_per_second)
    hook.frames = [9, 9, 9, 4, 3, 2]  # 9 frames in the last 3 s
    assert hook.frames_per_second == 3.0


def test_a_signal_while_iterations_are_measured_keeps_its_status(monkeypatch):
    def stopped(*args, **kwargs):
        raise RunStopped("Stopped by SIGTERM at iteration 3", number=signal.SIGTERM)

    monkeypatch.setattr("drivemim.training.run_time.train", stopped)
    with pytest.raises(RunStopped, match="SIGTERM while the time .* nothing is saved") as error:
        iterations_in(1, "vit_micro_frames")
    assert error.value.status == 143


def test_measuring_iterations_leaves_no_files(finished, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("drivemim.training.run_time._LONGEST", 0.2)
    options = {**SMALL, f"{DATA}.index": str(finished.work_dir / "index.arrow")}
    count, seconds = iterations_in(0.01, "vit_micro_frames", options=options)
    assert count == int(36 / seconds)
    assert 0 < seconds < 36
    assert not list(tmp_path.iterdir())
    # A run without a visualizer is measured, too.
    accumulated = {**options, "optim_wrapper.accumulative_counts": 7, "visualizer": None}
    count, _ = iterations_in(0.01, "vit_micro_frames", options=accumulated)
    assert count % 7 == 0
    with pytest.raises(ConfigError, match=r"--hours and --cfg-options train_cfg.max_iters=N"):
        iterations_in(1, "vit_micro_frames", options={**options, "train_cfg.max_iters": 9})
    with pytest.raises(ConfigError, match="--hours 0 must be"):
        iterations_in(0, "vit_micro_frames", options=options)


def test_hours_are_checked_before_the_folder_is_indexed(drives, tmp_path):
    with pytest.raises(ConfigError, match="hours=0 must be"):
        drivemim.pretrain(data=drives, work_dir=tmp_path / "run", hours=0)
    assert not list(tmp_path.iterdir())
