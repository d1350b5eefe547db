"""A resumed pretraining keeps its config, index, scenes, image size, batch size and length."""

import shutil

import cv2
import numpy as np
import pytest
from mmengine.config import Config
from mmengine.hooks import Hook

import drivemim
from drivemim.errors import ConfigError
from drivemim.registry import HOOKS

DATA = "train_dataloader.dataset"
STOPPED = {
    f"{DATA}.image_size": (32, 64), "train_dataloader.batch_size": 2,
    "train_dataloader.num_workers": 0, "train_dataloader.persistent_workers": False,
    "default_hooks.checkpoint.interval": 2, "default_hooks.logger.interval": 1,
    "custom_hooks": [{"type": "StopForTest"}],
}  # fmt: skip


@HOOKS.register_module(name="StopForTest", force=True)
class _Stop(Hook):
    """End a run in iteration ``at``, by default in the second; never if it is None."""

    priority = "VERY_LOW"
    at = 2

    def after_train_iter(self, runner, *args, **kwargs):
        if runner.iter + 1 == self.at:
            raise KeyboardInterrupt


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    root = tmp_path_factory.mktemp("data") / "drives"
    for name, count in (("train", 6), ("more", 4)):
        (root / name).mkdir(parents=True)
        for number in range(count):
            pixels = np.random.default_rng(number).integers(0, 256, (60, 120, 3), np.uint8)
            cv2.imwrite(str(root / name / f"{number}.jpg"), pixels)
    return root


@pytest.fixture(scope="module")
def stopped(folder, tmp_path_factory):
    """Folder of a run of 6 iterations on one of two scenes, stopped in the second iteration."""
    work_dir = tmp_path_factory.mktemp("runs") / "stopped"
    with pytest.raises(KeyboardInterrupt):
        drivemim.pretrain(
            data=folder, scenes="more", work_dir=work_dir, iterations=6, options=STOPPED
        )
    assert (work_dir / "iter_2.pth").is_file()
    return work_dir


@pytest.fixture
def run(stopped, tmp_path):
    return shutil.copytree(stopped, tmp_path / "run")


@pytest.fixture(autouse=True)
def _go_on(monkeypatch, request):
    if "stopped" in request.fixturenames or "run" in request.fixturenames:
        request.getfixturevalue("stopped")
        monkeypatch.setattr(_Stop, "at", None)


def written(work_dir, name="vit_micro_frames.py"):
    config = Config.fromfile(work_dir / name)
    data = config.train_dataloader.dataset
    return (
        config.train_cfg.max_iters, config.param_scheduler[-1]["end"], data.scenes,
        tuple(data.image_size), config.train_dataloader.batch_size,
    )  # fmt: skip


def test_a_run_is_resumed_without_repeating_its_settings(run, folder, capsys):
    before = written(run)
    assert before == (6, 6, ["more"], (32, 64), 2)
    done = drivemim.pretrain(data=folder, work_dir=run, resume=True)
    said = capsys.readouterr().out
    assert done.iteration == 6
    assert written(run) == before
    assert "length: 6 iterations, as the run began" in said
    assert "other settings" not in said
    assert "other data" not in said
    assert "4 clips" in said
    assert not list(run.glob("index_*"))


def test_a_complete_run_stays_as_it_is(folder, tmp_path, capsys):
    first = drivemim.pretrain(
        data=folder, work_dir=tmp_path / "run", iterations=2,
        options={key: value for key, value in STOPPED.items() if key != "custom_hooks"},
    )  # fmt: skip
    before = first.checkpoint.stat().st_mtime_ns
    capsys.readouterr()
    again = drivemim.pretrain(data=folder, work_dir=tmp_path / "run", resume=True)
    assert "The run is complete" in capsys.readouterr().out
    assert again == first
    assert first.checkpoint.stat().st_mtime_ns == before


def test_settings_that_the_user_changes_are_printed(run, folder, capsys):
    done = drivemim.pretrain(
        data=folder, work_dir=run, resume=True, iterations=4, scenes=["more", "train"],
        options={"train_dataloader.batch_size": 1},
    )  # fmt: skip
    said = capsys.readouterr().out
    assert done.iteration == 4
    assert written(run)[2:] == (["more", "train"], (32, 64), 1)
    assert "length: 4 iterations, instead of the 6 that it began with" in said
    assert "4 frames of ['more'] in " in said
    assert "before, 10 of ['more', 'train'] now" in said
    assert "train_dataloader.batch_size=2 before, 1 now" in said


def test_another_config_is_refused(run, folder):
    with pytest.raises(ConfigError, match="is of a run of vit_micro_frames; leave config out"):
        drivemim.pretrain("vit_base_frames", data=folder, work_dir=run, resume=True)
    done = drivemim.pretrain("vit_micro_frames", data=folder, work_dir=run, resume=True)
    assert done.iteration == 6


def test_a_run_of_a_users_config_is_resumed_without_naming_it(
    folder, repository, tmp_path, monkeypatch
):
    own = tmp_path / "own.py"
    own.write_text(
        f"_base_ = {str(repository / 'configs/pretrain/vit_micro_frames.py')!r}\n"
        "train_dataloader = dict(dataset=dict(scenes=[':more']))\n"
    )
    monkeypatch.setattr(_Stop, "at", 2)
    with pytest.raises(KeyboardInterrupt):
        drivemim.pretrain(own, data=folder, work_dir=tmp_path / "r", iterations=4, options=STOPPED)
    monkeypatch.setattr(_Stop, "at", None)
    done = drivemim.pretrain(data=folder, work_dir=tmp_path / "r", resume=True)
    assert done.iteration == 4
    assert written(tmp_path / "r", "own.py")[2] == [":more"]
    assert not (tmp_path / "r" / "vit_micro_frames.py").exists()
    assert not list((tmp_path / "r").glob("index_*"))


def test_a_resumed_run_takes_the_config_that_its_checkpoint_names(run, folder, tmp_path):
    """The folder also has the config of an overwritten run."""
    text = (run / "vit_micro_frames.py").read_text()
    assert "batch_size=2" in text
    (run / "other.py").write_text(text.replace("batch_size=2", "batch_size=5"))
    drivemim.pretrain(data=folder, work_dir=run, resume=True)
    assert written(run)[4] == 2
    with pytest.raises(ConfigError, match="is of a run of vit_micro_frames"):
        drivemim.pretrain("other", data=folder, work_dir=run, resume=True)


def test_a_checkpoint_in_another_folder_brings_its_config(run, folder, tmp_path):
    done = drivemim.pretrain(data=folder, work_dir=tmp_path / "next", resume=run / "iter_2.pth")
    assert done.iteration == 6
    assert written(tmp_path / "next") == (6, 6, ["more"], (32, 64), 2)


def test_a_moved_run_uses_the_index_in_its_folder(stopped, folder, tmp_path):
    moved = shutil.copytree(stopped, tmp_path / "moved")
    text = (moved / "vit_micro_frames.py").read_text()
    (moved / "vit_micro_frames.py").write_text(
        text.replace(str(stopped / "index.arrow"), str(tmp_path / "gone" / "index.arrow"))
    )
    done = drivemim.pretrain(data=folder, work_dir=moved, resume=True)
    assert done.iteration == 6


def test_a_checkpoint_alone_is_warned_of(run, folder, tmp_path, capsys):
    (tmp_path / "alone").mkdir()
    shutil.copy(run / "iter_2.pth", tmp_path / "alone")
    options = {key: value for key, value in STOPPED.items() if key != "custom_hooks"}
    drivemim.pretrain(
        data=folder, work_dir=tmp_path / "alone", resume=True, iterations=4, options=options
    )
    assert "its run's config is not beside it" in capsys.readouterr().out
