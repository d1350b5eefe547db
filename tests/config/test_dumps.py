"""The config in a run's folder: all tools read it, and it is written late."""

import shutil
from pathlib import Path

import pytest
import torch
from mmengine.config import Config
from shipped_configs import config_name, runnable

from drivemim.config.loading import load_config
from drivemim.errors import CheckpointError, ConfigError
from drivemim.training.run import evaluate, train

ROOT = Path(__file__).resolve().parents[2]
TOYS = ROOT / "tests" / "toys" / "configs"


def dump_as_mmengine_does(path, work_dir, **changes):
    """Every top-level name, variables too, as Runner.dump_config writes them."""
    cfg = Config.fromfile(path)
    cfg.merge_from_dict({"launcher": "none", "work_dir": str(work_dir), **changes})
    work_dir.mkdir(parents=True, exist_ok=True)
    cfg.dump(work_dir / path.name)
    return work_dir / path.name


@pytest.mark.parametrize("path", runnable(), ids=config_name)
def test_a_dump_of_every_shipped_config_loads(path, tmp_path):
    dumped = dump_as_mmengine_does(path, tmp_path / "run")
    found = load_config(dumped)
    expected = load_config(path)
    for key in ("model", "train_dataloader", "train_cfg", "optim_wrapper", "param_scheduler"):
        assert found.to_dict()[key] == expected.to_dict()[key]


def test_a_misspelt_key_in_a_dump_is_refused(tmp_path):
    dumped = dump_as_mmengine_does(TOYS / "toy.py", tmp_path / "run", optim_wraper={}, warmup=3)
    with pytest.raises(ConfigError, match="'optim_wraper'; did you mean 'optim_wrapper'"):
        load_config(dumped)


@pytest.mark.parametrize("suffix", [".json", ".yaml"])
def test_a_misspelt_key_is_refused_where_there_is_no_code(tmp_path, suffix):
    path = tmp_path / f"mine{suffix}"
    config = Config.fromfile(TOYS / "toy.py")
    config.merge_from_dict({"optim_wraper": {"accumulative_counts": 2}})
    config.dump(path)
    with pytest.raises(ConfigError, match="'optim_wraper'; did you mean 'optim_wrapper'"):
        load_config(path)


def test_the_config_written_by_a_run_trains_the_same_run(tmp_path):
    config = tmp_path / "mine.py"
    config.write_text(
        f"_base_ = {str(TOYS / 'toy.py')!r}\n"
        "channels = 6\nmodel = dict(encoder=dict(channels=channels))\n"
    )
    train(config, work_dir=tmp_path / "one", seed=3)
    text = (tmp_path / "one" / "mine.py").read_text()
    assert "ReseedEveryIteration" not in text
    assert "StrictLoad" not in text
    assert "\nchannels =" not in text
    # Of a resumed run as well: its dump says nothing of where it went on.
    shutil.copytree(tmp_path / "one", tmp_path / "two")
    (tmp_path / "two" / "iter_12.pth").unlink()
    train(config, work_dir=tmp_path / "two", resume="newest", seed=3)
    train(tmp_path / "two" / "mine.py", work_dir=tmp_path / "three")
    one, three = (
        torch.load(tmp_path / run / "iter_12.pth", weights_only=False) for run in ("one", "three")
    )
    assert three["meta"]["seed"] == 3
    for name, value in one["state_dict"].items():
        assert torch.equal(value, three["state_dict"][name]), name
    again = Config.fromfile(tmp_path / "three" / "mine.py")
    assert not again.get("experiment_name")


def test_nothing_a_run_writes_has_a_variable_that_its_options_made_untrue(tmp_path):
    config = tmp_path / "mine.py"
    config.write_text(
        f"_base_ = {str(TOYS / 'toy.py')!r}\n"
        "max_iters = 12\nchannels = 6\ntta_model = dict(type='mmdet.DetTTAModel')\n"
        "train_cfg = dict(max_iters=max_iters)\nmodel = dict(encoder=dict(channels=channels))\n"
    )
    shorter = {"train_cfg.max_iters": 4, "model.encoder.channels": 8,
               "param_scheduler.0.end": 2, "param_scheduler.1.begin": 2,
               "param_scheduler.1.end": 4}  # fmt: skip
    run = tmp_path / "run"
    train(config, work_dir=run, options=shorter)
    meta = torch.load(run / "iter_4.pth", weights_only=False)["meta"]
    (shown,) = run.glob("*/vis_data/config.py")
    for text in ((run / "mine.py").read_text(), meta["cfg"], shown.read_text()):
        found = Config.fromstring(text, ".py")
        assert (found.train_cfg.max_iters, found.model.encoder.channels) == (4, 8)
        assert not {"max_iters", "channels"} & set(found)
        assert found.tta_model.type == "mmdet.DetTTAModel"  # MMDetection's tools/test.py reads it


def test_an_older_dump_of_a_resumed_run_starts_from_the_beginning(tmp_path):
    guarantees = ("ReseedEveryIteration", "StopOnNonFiniteLoss", "AverageLosses", "StrictLoad")
    dumped = dump_as_mmengine_does(
        TOYS / "detector.py",
        tmp_path / "run",
        resume=True,
        load_from="run/iter_8.pth",
        experiment_name="run",
        backbone_checkpoint="old.safetensors",
        custom_hooks=[
            {"type": "EMAHook"},
            *({"type": f"drivemim.{name}"} for name in guarantees),
            {"type": "drivemim.LoadBackbone", "checkpoint": "old.safetensors"},
        ],
    )
    found = load_config(dumped, {"backbone_checkpoint": None})
    assert (found.resume, found.load_from, found.backbone_checkpoint) == (False, None, None)
    assert [hook["type"] for hook in found.custom_hooks] == ["EMAHook"]
    assert "experiment_name" not in found


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    run = tmp_path_factory.mktemp("trained") / "run"
    train(TOYS / "toy.py", work_dir=run)
    return run


@pytest.fixture
def run(trained, tmp_path):
    return Path(shutil.copytree(trained, tmp_path / "run"))


def files(folder):
    return {
        path.relative_to(folder): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def test_a_folder_with_checkpoints_is_not_begun_again(run):
    before = files(run)
    with pytest.raises(ConfigError) as error:
        train(TOYS / "toy.py", work_dir=run, options={"optim_wrapper.optimizer.lr": 0.5})
    assert str(error.value) == (
        f"{run} has checkpoints of an earlier run (iter_12.pth, iter_8.pth, last_checkpoint); go "
        "on from the newest with --resume, replace that run with --overwrite, or name another "
        "--work-dir"
    )
    assert files(run) == before


@pytest.mark.parametrize("name", ["best_loss_iter_4.pth", "epoch_1.pth", "last_checkpoint"])
def test_any_checkpoint_counts(tmp_path, name):
    (tmp_path / name).write_bytes(b"0")
    with pytest.raises(ConfigError, match=name):
        train(TOYS / "toy.py", work_dir=tmp_path)
    with pytest.raises(CheckpointError, match="is a complete iter_N.pth or epoch_N.pth"):
        train(TOYS / "toy.py", work_dir=tmp_path, resume="newest")
    assert [path.name for path in tmp_path.iterdir()] == [name]


def test_resuming_an_earlier_checkpoint_among_later_ones_is_refused(run, tmp_path):
    before = files(run)
    with pytest.raises(ConfigError, match=r"has later checkpoints \(iter_12.pth\)"):
        train(TOYS / "toy.py", work_dir=run, resume=run / "iter_8.pth")
    foreign = shutil.copytree(run, tmp_path / "foreign") / "iter_12.pth"
    with pytest.raises(ConfigError, match=r"has checkpoints of another run \(iter_12.pth\)"):
        train(TOYS / "toy.py", work_dir=run, resume=foreign)
    assert files(run) == before


@pytest.mark.parametrize(
    "options",
    [
        {"model.encoder.channels": 6},  # another model
        {"model.encoder.chanels": 6},  # a mistake
        {"model.poison": "frame", "train_cfg.max_iters": 16, "param_scheduler.1.end": 16},
    ],
)
def test_a_resumption_that_fails_keeps_the_runs_config(run, options):
    before = (run / "toy.py").read_bytes()
    with pytest.raises((CheckpointError, ConfigError, ArithmeticError)):
        train(TOYS / "toy.py", work_dir=run, resume="newest", options=options)
    assert (run / "toy.py").read_bytes() == before


def test_a_resumption_that_goes_on_writes_its_config(run):
    longer = {"train_cfg.max_iters": 16, "param_scheduler.1.end": 16}
    train(TOYS / "toy.py", work_dir=run, resume="newest", options=longer)
    assert Config.fromfile(run / "toy.py").train_cfg.max_iters == 16


def test_resume_in_the_config_is_heard(run):
    longer = {"train_cfg.max_iters": 16, "param_scheduler.1.end": 16, "resume": True}
    (run / "iter_12.pth").rename(run / "iter_10.pth")
    runner = train(TOYS / "toy.py", work_dir=run, options=longer)
    assert runner.iter == 16
    # From the beginning, it would have passed the twelfth.
    assert sorted(path.name for path in run.glob("*.pth")) == ["iter_10.pth", "iter_16.pth"]


def test_an_evaluation_leaves_the_runs_config_alone(tmp_path):
    run = tmp_path / "run"
    train(TOYS / "detector.py", work_dir=run, options={"model.backbone.init_cfg": None})
    before = (run / "detector.py").read_bytes()
    evaluate(TOYS / "detector.py", run / "iter_2.pth", work_dir=run)
    evaluate(run / "detector.py", run / "iter_2.pth")
    assert (run / "detector.py").read_bytes() == before
