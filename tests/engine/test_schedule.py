"""Schedules against the length of the training; the numbers of the cures by hand."""

from pathlib import Path

import pytest
from mmengine.config import Config

from drivemim.engine.config import load_config
from drivemim.engine.run import train
from drivemim.engine.schedule import check_schedule
from drivemim.errors import ConfigError

ROOT = Path(__file__).resolve().parents[2]
PRETRAIN = ROOT / "configs" / "pretrain" / "vit-base_object_nuscenes.py"
TOYS = ROOT / "tests" / "engine" / "configs"
SHIPPED = sorted(
    path
    for path in (ROOT / "configs").rglob("*.py")
    if not {"_base_", "masks"} & set(path.relative_to(ROOT).parts)
)
WARM_UP = dict(type="LinearLR", start_factor=0.1, by_epoch=False, begin=0, end=4)


def complaint(param_scheduler, epoch_length=None, hooks=(), **train_cfg):
    config = Config(dict(train_cfg=train_cfg, param_scheduler=param_scheduler))
    config.custom_hooks = list(hooks)
    with pytest.raises(ConfigError) as error:
        check_schedule(config, epoch_length)
    return str(error.value)


def passes(param_scheduler, epoch_length=None, hooks=(), **train_cfg):
    config = Config(dict(train_cfg=train_cfg, param_scheduler=param_scheduler))
    config.custom_hooks = list(hooks)
    check_schedule(config, epoch_length)
    return True


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.stem)
def test_every_shipped_config_passes(path):
    check_schedule(load_config(path))


def test_a_short_run_inside_a_long_warm_up_is_refused_with_every_key():
    config = load_config(PRETRAIN, {"train_cfg.max_iters": 20})
    with pytest.raises(ConfigError) as error:
        check_schedule(config)
    assert str(error.value) == (
        "train_cfg.max_iters=20, but param_scheduler.0 (LinearLR) warms up for 4000 iterations of "
        "20; param_scheduler.1 (CosineAnnealingLR) ends after 80000 iterations of 20. Set what "
        "belongs together: --cfg-options train_cfg.max_iters=20 param_scheduler.0.end=1 "
        "param_scheduler.1.begin=1 param_scheduler.1.end=20"
    )
    _, _, cure = str(error.value).partition("--cfg-options ")
    options = {key: int(value) for key, _, value in (each.partition("=") for each in cure.split())}
    check_schedule(load_config(PRETRAIN, options))


def test_a_longer_run_after_the_schedule_is_refused_and_its_warm_up_stays():
    config = load_config(PRETRAIN, {"train_cfg.max_iters": 160_000})
    with pytest.raises(ConfigError) as error:
        check_schedule(config)
    assert "param_scheduler.1 (CosineAnnealingLR) ends after 80000 iterations of 160000" in str(
        error.value
    )
    assert str(error.value).endswith(
        "train_cfg.max_iters=160000 param_scheduler.0.end=4000 param_scheduler.1.begin=4000 "
        "param_scheduler.1.end=160000"
    )


def test_nothing_is_written_before_it_is_refused(tmp_path):
    with pytest.raises(ConfigError, match="param_scheduler.1.end=2"):
        train(TOYS / "toy.py", work_dir=tmp_path / "run", options={"train_cfg.max_iters": 2})
    assert not (tmp_path / "run").exists()


def test_epochs_where_there_are_none():
    cosine = dict(type="CosineAnnealingLR", begin=0, end=12)  # by_epoch is MMEngine's default
    found = complaint([WARM_UP, cosine], type="IterBasedTrainLoop", max_iters=600)
    assert "param_scheduler.1 (CosineAnnealingLR) has by_epoch=True, and there are no" in found
    assert found.endswith(
        "train_cfg.max_iters=600 param_scheduler.0.end=4 param_scheduler.1.by_epoch=False "
        "param_scheduler.1.end=600"
    )
    assert complaint(cosine, by_epoch=False, max_iters=600)


def test_checkpoints_by_epoch_where_there_are_none(tmp_path):
    options = {"default_hooks.checkpoint.by_epoch": True}
    with pytest.raises(ConfigError, match=r"default_hooks.checkpoint.by_epoch=False"):
        train(TOYS / "toy.py", work_dir=tmp_path, options=options)


def test_steps_of_a_detector():
    steps = dict(type="MultiStepLR", begin=0, end=12, by_epoch=True, milestones=[8, 11], gamma=0.1)
    warm_up = dict(WARM_UP, end=500)
    loop = dict(type="EpochBasedTrainLoop")
    assert passes([warm_up, steps], **loop, max_epochs=12)
    found = complaint([warm_up, steps], **loop, max_epochs=24)
    assert "param_scheduler.1 (MultiStepLR) ends after 12 epochs of 24" in found
    # Both milestones lie in the 24 epochs: whether they are meant, the config alone knows.
    assert found.endswith(
        "max_epochs=24 param_scheduler.1.end=24 param_scheduler.1.milestones=[8,11]"
    )
    found = complaint([warm_up, steps], **loop, max_epochs=6)
    assert found.endswith("max_epochs=6 param_scheduler.1.end=6 param_scheduler.1.milestones=[4,5]")
    del steps["end"]
    assert passes(steps, **loop, max_epochs=12)
    assert "has milestones [11], after 11 epochs" in complaint(steps, **loop, max_epochs=11)


def test_a_warm_up_in_iterations_is_compared_once_an_epochs_length_is_known():
    steps = dict(type="MultiStepLR", begin=0, end=2, by_epoch=True, milestones=[1])
    warm_up = dict(WARM_UP, end=500)
    loop = dict(type="EpochBasedTrainLoop", max_epochs=2)
    assert passes([warm_up, steps], **loop)
    assert passes([warm_up, steps], epoch_length=250, **loop)
    found = complaint([warm_up, steps], epoch_length=100, **loop)
    assert "param_scheduler.0 (LinearLR) warms up for 500 iterations of 200" in found
    assert "param_scheduler.0.end=16" in found  # 200 / 12


def test_cosines_with_a_period():
    loop = dict(type="EpochBasedTrainLoop", max_epochs=300)
    yolox = [
        dict(type="QuadraticWarmupLR", by_epoch=True, begin=0, end=5),
        dict(type="CosineAnnealingLR", by_epoch=True, begin=5, T_max=285, end=285),
        dict(type="ConstantLR", by_epoch=True, factor=1, begin=285, end=300),
    ]
    assert passes(yolox, **loop)
    found = complaint(yolox, **{**loop, "max_epochs": 100})
    assert found.endswith(
        "param_scheduler.0.end=5 param_scheduler.1.begin=5 param_scheduler.1.end=95 "
        "param_scheduler.1.T_max=90 param_scheduler.2.begin=95 param_scheduler.2.end=100"
    )
    # Past its period, a cosine rises again.
    rises = dict(type="CosineAnnealingLR", by_epoch=True, T_max=12)
    assert "has T_max=12 for 300 epochs" in complaint(rises, **loop)
    assert "has T_max=400 for 300" in complaint(dict(rises, T_max=400), **loop)


def test_what_may_end_earlier_or_never():
    loop = dict(type="IterBasedTrainLoop", max_iters=600)
    assert passes(WARM_UP, **loop)  # then the config's own rate
    assert passes(dict(type="CosineAnnealingLR", by_epoch=False), **loop)
    assert passes(None, **loop)
    assert passes([], **loop)
    assert passes(dict(type="CosineAnnealingLR", end=12), type="LoopOfMine")
    lowers = dict(type="LinearLR", end_factor=0.1, by_epoch=False, end=500)
    assert "(LinearLR) ends after 500 iterations of 600" in complaint(lowers, **loop)


def test_schedules_of_several_optimizers():
    both = dict(encoder=[WARM_UP], head=[dict(WARM_UP, end=700)])
    found = complaint(both, type="IterBasedTrainLoop", max_iters=600)
    assert "param_scheduler.head.0 (LinearLR) warms up for 700 iterations of 600" in found
    assert found.endswith("param_scheduler.head.0.end=50")


def test_an_average_that_never_begins():
    hook = dict(type="EMAHook", begin_iter=600)
    found = complaint(None, hooks=[hook], type="IterBasedTrainLoop", max_iters=600)
    assert "custom_hooks.0 (EMAHook) begins after begin_iter=600" in found
    hook["begin_iter"] = 599
    assert passes(None, hooks=[hook], type="IterBasedTrainLoop", max_iters=600)
