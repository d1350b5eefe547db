"""A folder that has an earlier run: refused, continued or replaced."""

import shutil

import pytest
import torch
from mmengine.config import Config
from mmengine.hooks import Hook

import drivemim
from drivemim.config.dumps import is_dump_file
from drivemim.errors import CheckpointError, ConfigError
from drivemim.training.run import train

SHORT = {
    "train_cfg.max_iters": 4,
    "param_scheduler.0.end": 2,
    "param_scheduler.1.begin": 2,
    "param_scheduler.1.end": 4,
    "train_dataloader.dataset.dataset.image_size": (16, 16),
}
OTHER = {**SHORT, "optim_wrapper.optimizer.lr": 0.02, "default_hooks.checkpoint.interval": 2}


@pytest.fixture(scope="module")
def toy(repository):
    return repository / "tests" / "toys" / "configs" / "toy.py"


@pytest.fixture(scope="module")
def trained(toy, tmp_path_factory):
    folder = tmp_path_factory.mktemp("earlier") / "run"
    train(toy, work_dir=folder, options=SHORT)
    (log,) = folder.glob("*_*/")  # renamed, because a run of the same second would share it
    log.rename(folder / "20200101_000000")
    return folder


@pytest.fixture
def run(trained, tmp_path):
    return shutil.copytree(trained, tmp_path / "run")


def contents(folder):
    return {path.relative_to(folder): path.read_bytes() for path in folder.rglob("*")
            if path.is_file()}  # fmt: skip


def test_a_folder_with_an_earlier_run_is_refused_from_python(toy, run):
    before = contents(run)
    with pytest.raises(ConfigError) as error:
        drivemim.train(toy, work_dir=run, options=OTHER)
    assert str(error.value) == (
        f"{run} has checkpoints of an earlier run (iter_4.pth, last_checkpoint); go on from the "
        "newest with resume=True, replace that run with overwrite=True, or name another work_dir"
    )
    with pytest.raises(ConfigError, match="^resume=True and overwrite=True contradict each other"):
        drivemim.pretrain(toy, work_dir=run, resume=True, overwrite=True, options=OTHER)
    with pytest.raises(ConfigError, match="contradict each other: give one"):
        train(toy, work_dir=run, overwrite=True, options={**OTHER, "resume": True})
    assert contents(run) == before


# Files that a run writes, and files that it does not write.
RUN_FILES = (
    "iter_2.pth", "epoch_3.pth", "best_loss_iter_2.pth", "best_coco_bbox_mAP_epoch_3.pth",
    "iter_4-0123abcd.pth", "last_checkpoint",
)  # fmt: skip
USER_FILES = (
    "best_model.pth", "iter_4.pth.bak", "iter_four.pth", "backbone.safetensors", "backbone.pth",
    "notes.txt", "other.py", "20250101_000000/20250101_000000.log", "kept/iter_4.pth",
)  # fmt: skip


def test_overwriting_removes_what_a_run_writes_and_nothing_else(toy, run):
    for name in (*RUN_FILES, *USER_FILES):
        (run / name).parent.mkdir(exist_ok=True)
        (run / name).write_bytes(b"earlier")
    earlier_logs = {path: data for path, data in contents(run).items() if len(path.parts) > 1}

    pretrained = drivemim.pretrain(toy, work_dir=run, overwrite=True, options=OTHER)

    assert pretrained.checkpoint == run / "iter_4.pth"
    assert Config.fromfile(run / "toy.py").optim_wrapper.optimizer.lr == 0.02
    assert torch.load(run / "iter_2.pth", weights_only=False)["meta"]["iter"] == 2
    assert (run / "last_checkpoint").read_text() == str(run / "iter_4.pth")
    after = contents(run)
    assert {path for path, data in after.items() if data == b"earlier"} == {
        path.relative_to(run) for path in map(run.joinpath, USER_FILES)
    }
    assert earlier_logs.items() <= after.items()
    removed = set(RUN_FILES) - {"iter_2.pth", "last_checkpoint"}
    assert not removed & {path.name for path in after}


@pytest.mark.parametrize("options", [
    {"model.encoder.chanels": 6},  # refused when the model is built
    {"model.poison": "frame"},  # a NaN loss in the first iteration
])  # fmt: skip
def test_a_run_that_fails_before_its_first_step_replaces_nothing(toy, run, options):
    before = {name: data for name, data in contents(run).items() if len(name.parts) == 1}
    with pytest.raises((ConfigError, ArithmeticError)):
        train(toy, work_dir=run, overwrite=True, options={**OTHER, **options})
    after = contents(run)
    assert {name: data for name, data in after.items() if len(name.parts) == 1} == before


@pytest.mark.parametrize(("key", "named", "options"), [
    ("load_from", "run/../run/iter_4.pth", {"load_from": "run/../run/iter_4.pth"}),
    ("model.encoder.init_cfg.checkpoint", "run/iter_4.pth",
     {"model.encoder.init_cfg": {"type": "Pretrained", "checkpoint": "run/iter_4.pth"}}),
    ("custom_hooks.0.teacher", "link.pth", {"custom_hooks": [{"teacher": "link.pth"}]}),
    ("train_dataloader.dataset.index", "run/frames7.arrow",
     {"train_dataloader.dataset.index": "run/frames7.arrow",
      "default_hooks.checkpoint.filename_tmpl": "frames{}.arrow"}),
])  # fmt: skip
def test_overwriting_keeps_what_the_run_reads(toy, run, tmp_path, monkeypatch, key, named, options):
    (tmp_path / "link.pth").symlink_to(run / "iter_4.pth")
    (run / "frames7.arrow").write_bytes(b"earlier")
    monkeypatch.chdir(tmp_path)
    before = contents(run)
    with pytest.raises(ConfigError) as error:
        train(toy, work_dir=run, overwrite=True, options={**OTHER, **options})
    assert str(error.value) == (
        f"--overwrite would remove {named}, which the run reads ({key}): copy it to another "
        "folder, or name another --work-dir"
    )
    assert contents(run) == before


def test_overwriting_starts_from_the_weights_of_another_folder(toy, run, tmp_path):
    copy = str(shutil.copy(run / "iter_4.pth", tmp_path / "iter_4.pth"))
    train(toy, work_dir=run, overwrite=True, options={**OTHER, "load_from": copy})
    assert sorted(path.name for path in run.glob("*.pth")) == ["iter_2.pth", "iter_4.pth"]


def test_checkpoints_with_the_configs_own_file_names_are_recognised(toy, run):
    template = {**OTHER, "default_hooks.checkpoint.filename_tmpl": "step{}.pth"}
    (run / "step6.pth").write_bytes(b"earlier")
    for path in run.glob("iter_*"):
        path.unlink()
    (run / "last_checkpoint").unlink()
    with pytest.raises(ConfigError, match=r"an earlier run \(step6.pth\)"):
        train(toy, work_dir=run, options=template)
    train(toy, work_dir=run, overwrite=True, options=template)
    assert sorted(path.name for path in run.glob("*.pth")) == ["step2.pth", "step4.pth"]


def test_checkpoints_in_a_separate_folder_are_recognised(toy, tmp_path):
    options = {**SHORT, "default_hooks.checkpoint.out_dir": str(tmp_path / "disk")}
    run = drivemim.pretrain(toy, work_dir=tmp_path / "run", options=options)
    assert run.checkpoint == tmp_path / "disk" / "run" / "iter_4.pth"
    with pytest.raises(ConfigError, match=r"disk/run has checkpoints of an earlier run"):
        drivemim.pretrain(toy, work_dir=tmp_path / "run", options=options)
    longer = {**options, "train_cfg.max_iters": 5, "param_scheduler.1.end": 5}
    again = drivemim.pretrain(toy, work_dir=tmp_path / "run", resume=True, options=longer)
    assert (again.iteration, again.work_dir) == (5, tmp_path / "run")


def test_a_config_without_checkpoints_is_an_earlier_run(toy, run):
    for path in (*run.glob("*.pth"), run / "last_checkpoint"):
        path.unlink()
    before = contents(run)
    with pytest.raises(ConfigError) as error:
        train(toy, work_dir=run, options=OTHER)
    assert str(error.value) == (
        f"{run} has the config of an earlier run (toy.py), but no checkpoint; start from the "
        "beginning with --resume or --overwrite, or name another --work-dir"
    )
    assert contents(run) == before
    # Starting from that run's own config is allowed: it is the same run.
    train(run / "toy.py", work_dir=run, options={"optim_wrapper.optimizer.lr": 0.03})
    assert Config.fromfile(run / "toy.py").optim_wrapper.optimizer.lr == 0.03


def test_a_config_of_the_users_in_the_folder_is_not_overwritten(toy, tmp_path):
    text = f"_base_ = {str(toy)!r}\nlauncher = 'none'\nwork_dir = 'x'\n"
    (tmp_path / "mine.py").write_text(text)
    train(tmp_path / "mine.py", work_dir=tmp_path, options=SHORT)
    assert (tmp_path / "mine.py").read_text() == text
    (shown,) = tmp_path.glob("*/vis_data/config.py")
    assert Config.fromfile(shown).train_cfg.max_iters == 4


@pytest.mark.parametrize(("name", "text", "expected"), [
    ("a.py", "launcher = 'none'\nmodel = dict(type='x')\nwork_dir = 'w'\n", True),
    ("a.py", "launcher = 'none'\nmodel = dict(type='x')\n", False),
    ("a.py", "launcher = 'none'\nwork_dir = work_dirs + 'w'\n", False),
    ("a.py", "_base_ = 'b.py'\nlauncher = 'none'\nwork_dir = 'w'\n", False),
    ("a.py", "launcher = (\nwork_dir = 1\n", False),
    ("a.json", '{"model": {}, "launcher": "none", "work_dir": "w"}', True),
    ("a.yaml", "launcher: none\nwork_dir: w\n", True),
    ("a.yaml", "_base_: b.yaml\nlauncher: none\nwork_dir: w\n", False),
])  # fmt: skip
def test_a_run_s_config_is_recognised_without_running_it(tmp_path, name, text, expected):
    (tmp_path / name).write_text(text)
    assert is_dump_file(tmp_path / name) == expected
    assert not is_dump_file(tmp_path / "absent.py")
    (tmp_path / "b.py").write_bytes(b"\xff\xfe")
    assert not is_dump_file(tmp_path / "b.py")


def test_an_incomplete_checkpoint_does_not_stop_resuming_or_exporting(toy, tmp_path):
    """MMEngine's ``last_checkpoint`` may be incomplete or missing, the newest checkpoint, too."""
    run, vit = tmp_path / "run", toy.with_name("vit.py")
    drivemim.pretrain(vit, work_dir=run)
    (run / "iter_8.pth").write_bytes((run / "iter_2.pth").read_bytes()[:-100])
    for text in (str(run / "iter_8.pth"), str(run)[:3], None):
        (run / "last_checkpoint").write_text(text or "")
        if text is None:
            (run / "last_checkpoint").unlink()
        done = drivemim.pretrain(vit, work_dir=run, resume=True)
        assert done.checkpoint == run / "iter_2.pth"
        metadata = drivemim.export_backbone(run, tmp_path / "backbone.safetensors")
        assert metadata["source"]["iteration"] == 2
    (run / "iter_2.pth").unlink()
    with pytest.raises(CheckpointError, match="start from the beginning with overwrite=True"):
        drivemim.pretrain(vit, work_dir=run, resume=True)
    with pytest.raises(FileNotFoundError, match="is a folder without a complete checkpoint"):
        drivemim.export_backbone(run, tmp_path / "other.safetensors")


@pytest.mark.parametrize(
    "again",
    [{"resume": True}, {"overwrite": True}, {}],
    ids=["resume", "overwrite", "without a word"],
)
def test_two_runs_do_not_share_a_folder(toy, tmp_path, again):
    """A second run that starts during the third iteration of the first is refused."""
    errors = []

    class Second(Hook):
        def after_train_iter(self, runner, *args, **kwargs):
            if runner.iter == 2:
                with pytest.raises(ConfigError) as error:
                    train(toy, work_dir=tmp_path / "run", **again)
                errors.append(str(error.value))

    train(toy, work_dir=tmp_path / "run", hooks=[Second()])
    assert errors == [
        f"another run is going on in {tmp_path / 'run'}; name another --work-dir, or wait until it "
        "ends"
    ]
    assert (tmp_path / "run" / "iter_12.pth").is_file()
    assert not (tmp_path / "run" / ".lock").exists()
    train(toy, work_dir=tmp_path / "run", resume=True)  # the folder can be used again


def test_the_lock_file_of_a_killed_run_does_not_lock_the_folder(toy, trained, run):
    (run / ".lock").touch()
    with pytest.raises(ConfigError, match="has checkpoints of an earlier run"):
        train(toy, work_dir=run, options=SHORT)
    assert contents(run) == contents(trained)
    (run / ".lock").mkdir()
    with pytest.raises(ConfigError) as error:
        train(toy, work_dir=run, options=SHORT, overwrite=True)
    assert str(error.value) == (
        f"{run / '.lock'} is a folder, but a run locks a file of that name; remove it, or name "
        "another --work-dir"
    )
    assert contents(run) == contents(trained)
