"""A run that is refused leaves nothing behind, and the console has no lines for developers."""

import shutil
import time
import warnings

import pytest
import torch
from mmengine.visualization import Visualizer
from seen_data import index_of, write_frames

import drivemim
from drivemim.compat import forget_instance
from drivemim.errors import CheckpointError, ConfigError
from drivemim.foreign_messages import is_deprecation, is_for_developers
from drivemim.training.compact_log import deprecations_in_log
from drivemim.training.run import evaluate, train
from drivemim.training.work_dir import nothing_left_unless_begun

SHORT = {
    "train_cfg.max_iters": 2,
    "param_scheduler.0.end": 1,
    "param_scheduler.1.begin": 1,
    "param_scheduler.1.end": 2,
}


@pytest.fixture
def toys(repository):
    return repository / "tests" / "toys" / "configs"


def test_a_refused_training_leaves_nothing(toys, tmp_path):
    torch.save({"state_dict": {"encoder.a": torch.zeros(2)}}, tmp_path / "other.pth")
    refusals = {
        "model.encoder.chanels": 4,  # refused when the model is built
        "load_from": str(tmp_path / "other.pth"),  # refused when weights are loaded
        "train_dataloader.sampler.sed": 1,
    }
    for key, value in refusals.items():
        with pytest.raises((CheckpointError, ConfigError)):
            train(toys / "toy.py", work_dir=tmp_path / "new" / "run", options={key: value, **SHORT})
        assert [path.name for path in tmp_path.iterdir()] == ["other.pth"], key
    # A run that begins in the same second has the same name, and is not affected.
    train(toys / "toy.py", work_dir=tmp_path / "again" / "run", options=SHORT)
    assert len(list((tmp_path / "again" / "run").glob("*/*.log"))) == 1
    shutil.rmtree(tmp_path / "again")
    with pytest.raises(CheckpointError):
        evaluate(toys / "detector.py", tmp_path / "other.pth", work_dir=tmp_path / "new" / "test")
    assert [path.name for path in tmp_path.iterdir()] == ["other.pth"]


def test_paths_with_commas_need_quotes(toys, tmp_path):
    (tmp_path / "x,y.arrow").touch()
    for key in ("load_from", "train_dataloader.dataset.index"):
        options = {key: [f"{tmp_path}/x", "y.arrow"], **SHORT}
        with pytest.raises(ConfigError, match=f"{key} must be one path, .* \"{key}='.*/x,y.arrow'"):
            train(toys / "toy.py", work_dir=tmp_path / "run", options=options)


def test_seeds_out_of_range_are_refused(toys, tmp_path):
    for seed in (-1, 2**32):
        with pytest.raises(ConfigError, match=rf"--seed {seed} must be in \[0, 4294967295\]"):
            train(toys / "toy.py", work_dir=tmp_path / "run", seed=seed, options=SHORT)
    with pytest.raises(ConfigError, match="randomness.seed -1 must be in"):
        train(toys / "toy.py", work_dir=tmp_path / "run", options={"randomness.seed": -1, **SHORT})
    assert list(tmp_path.iterdir()) == []


def test_patches_that_do_not_divide_the_images_are_refused_before_the_run(repository, tmp_path):
    write_frames(tmp_path / "data", {"train": {"a": 2}})
    index_of(tmp_path / "data", tmp_path / "frames.arrow", "train")
    dataset = {"_delete_": True, "type": "ClipDataset", "index": str(tmp_path / "frames.arrow"),
               "image_size": (60, 97)}  # fmt: skip
    with pytest.raises(ConfigError, match=r"patches of 8 pixels; set .*image_size=\(64, 96\)"):
        train(
            repository / "tests" / "toys" / "configs" / "vit.py",
            work_dir=tmp_path / "undivided",
            options={"train_dataloader.dataset": dataset},
        )
    assert not (tmp_path / "undivided").exists()


def test_a_missing_index_is_named_with_its_keys(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "town.arrow").write_bytes(b"0")
    options = {"train_dataloader.dataset.dataset.index": "town.arrow"}
    with pytest.raises(FileNotFoundError) as error:
        train("atss_vit_micro_town", work_dir=tmp_path / "run", options=options)
    assert str(error.value).endswith(
        "no index at work_dirs/demo/town.arrow; build it with drivemim index nuscenes, nuimages, "
        "frames or rig (... --out work_dirs/demo/town.arrow). To take another one: --cfg-options "
        "val_dataloader.dataset.index=INDEX"
    )
    with pytest.raises(FileNotFoundError, match=r"twn\.arrow; did you mean 'town\.arrow'\?"):
        train("atss_vit_micro_town", options={key: "twn.arrow" for key in options})
    with pytest.raises(FileNotFoundError, match="options={'test_dataloader.dataset.index'"):
        drivemim.evaluate("atss_vit_micro_town", "x.pth", work_dir=tmp_path / "run")
    assert [path.name for path in tmp_path.iterdir()] == ["town.arrow"]


def test_runs_of_one_name_in_one_second_have_their_own_logs(toys, tmp_path, monkeypatch):
    second = time.time()
    monkeypatch.setattr(time, "time", lambda: second)
    for folder in ("first", "second"):
        train(toys / "toy.py", work_dir=tmp_path / folder / "same", options=SHORT)
    for folder in ("first", "second"):
        (log,) = (tmp_path / folder / "same").glob("*/vis_data/scalars.json")
        assert len(log.read_text().splitlines()) == 2


def test_logs_of_a_run_whose_folder_is_gone_do_not_stop_the_next_one():
    class Gone:
        def close(self):
            raise FileNotFoundError("events.out.tfevents")

    Visualizer._instance_dict["same_1"] = Gone()
    forget_instance(Visualizer, "same_1")
    assert "same_1" not in Visualizer._instance_dict


def test_a_refused_run_with_the_name_of_an_earlier_run_closes_only_its_own_files(tmp_path):
    closed = []

    class Opened:
        def __init__(self, name):
            self.name = name

        def close(self):
            closed.append(self.name)

    Visualizer._instance_dict["same_1"] = Opened("earlier")
    try:
        with nothing_left_unless_begun(tmp_path / "run"):
            Visualizer._instance_dict["same_1"] = Opened("refused")
            (tmp_path / "run").mkdir()
        assert closed == ["refused"]
    finally:
        Visualizer._instance_dict.pop("same_1", None)


def test_existing_files_stay_and_a_finished_run_adds_nothing(toys, tmp_path, capsys):
    run = tmp_path / "kept"  # a name of its own: MMEngine shares the logs of runs of one name
    train(toys / "toy.py", work_dir=run, options=SHORT)
    (run / "20200101_000000").mkdir()
    (run / "mine").mkdir()
    there = sorted(run.rglob("*"))
    assert len(list(run.glob("*/*.log"))) == 1  # a run that began has its log
    time.sleep(1.1)  # runs that begin in the same second share their folder of logs
    wider = {"model.encoder.channels": 6, **SHORT}
    with pytest.raises(CheckpointError):
        train(toys / "toy.py", work_dir=run, resume=True, options=wider)
    assert sorted(run.rglob("*")) == there
    capsys.readouterr()
    drivemim.train(toys / "toy.py", work_dir=run, resume=True, options=SHORT)
    assert sorted(run.rglob("*")) == there
    line = capsys.readouterr().out.splitlines()[-1]
    assert line.startswith("The run is complete: ")
    assert "give a larger iterations, which scales the schedules" in line


def test_lines_for_developers_are_only_in_the_log(toys, tmp_path, capsys):
    train(toys / "toy.py", work_dir=tmp_path / "quiet", options=SHORT)
    shown = capsys.readouterr()
    (log,) = (tmp_path / "quiet").glob("*/*.log")
    for words in ("all SyncBatchNorm", '"FileClient" will be deprecated'):
        assert words in log.read_text()
        assert words not in shown.out + shown.err


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('"FileClient" will be deprecated in future. Please use io functions', True),
        ("Could not import OneDL. Skipping OneDL datasets.", True),
        ("Loads checkpoint by _local backend from path: x.pth", True),
        ("x.pth has an empty ema_state_dict: it counts as one without averaged weights", False),
        ("The model and loaded state dict do not match exactly", False),
    ],
)
def test_lines_for_developers(text, expected):
    assert is_for_developers(text) == expected


def test_warnings_that_users_can_act_on_stay():
    theirs, ours = "/x/site-packages/mmdet/models/a.py", "/x/drivemim/run.py"
    assert is_deprecation("DeprecationWarning: `num_anchors` is deprecated", UserWarning, theirs)
    assert is_deprecation("old", FutureWarning, theirs)
    assert not is_deprecation("old", FutureWarning, ours)
    assert not is_deprecation("this worker count is too high", UserWarning, theirs)
    with warnings.catch_warnings(record=True) as shown:
        warnings.simplefilter("always")
        with deprecations_in_log():
            warnings.warn_explicit("old", FutureWarning, theirs, 1)
            warnings.warn_explicit("DeprecationWarning: old", UserWarning, theirs, 1)
            warnings.warn_explicit("mind this", UserWarning, theirs, 1)
            warnings.warn_explicit("old", FutureWarning, ours, 1)
    assert [(str(each.message), each.filename) for each in shown] == [
        ("mind this", theirs), ("old", ours)
    ]  # fmt: skip
