"""Hooks, checkpoints and validation against the length of the training."""

from pathlib import Path

import pytest
from mmengine.config import Config
from schedule_checks import EPOCHS, ITERATIONS, complaint, passes

from drivemim.errors import ConfigError
from drivemim.training.run import train
from drivemim.training.schedule_hooks import describe_validation
from drivemim.training.training_length import training_length

TOYS = Path(__file__).resolve().parents[1] / "toys" / "configs"


def test_checkpoints_by_epoch_are_refused_in_loops_of_iterations(tmp_path):
    options = {"default_hooks.checkpoint.by_epoch": True}
    with pytest.raises(ConfigError, match=r"default_hooks.checkpoint.by_epoch=False"):
        train(TOYS / "toy.py", work_dir=tmp_path, options=options)


def test_averaging_that_never_begins_is_refused():
    hook = dict(type="EMAHook", begin_iter=600)
    found = complaint(None, hooks=[hook], type="IterBasedTrainLoop", max_iters=600)
    assert "custom_hooks.0 (EMAHook) begins after begin_iter=600" in found
    hook["begin_iter"] = 599
    assert passes(None, hooks=[hook], type="IterBasedTrainLoop", max_iters=600)


def test_hooks_that_never_act_are_refused():
    found = complaint(None, hooks=[dict(type="EMAHook", begin_epoch=2)], **ITERATIONS)
    assert "custom_hooks.0 (EMAHook) begins after begin_epoch=2" in found
    assert passes(None, hooks=[dict(type="EMAHook", begin_epoch=2)], **EPOCHS)
    switch = dict(type="mmdet.PipelineSwitchHook", switch_epoch=280)
    assert passes(None, hooks=[switch], type="EpochBasedTrainLoop", max_epochs=300)
    found = complaint(None, hooks=[switch], type="EpochBasedTrainLoop", max_epochs=30)
    assert "has switch_epoch=280: it never acts" in found
    assert found.endswith("custom_hooks.0.switch_epoch=28")
    assert "it never acts" in complaint(None, hooks=[switch], **ITERATIONS)
    yolox = dict(type="YOLOXModeSwitchHook", num_last_epochs=15)
    assert passes(None, hooks=[yolox], type="EpochBasedTrainLoop", max_epochs=300)
    found = complaint(None, hooks=[yolox], **EPOCHS)
    assert "has num_last_epochs=15: it ends Mosaic and MixUp before the first iteration" in found
    assert found.endswith("custom_hooks.0.num_last_epochs=1")
    assert "before the first iteration" in complaint(None, hooks=[yolox], **ITERATIONS)
    assert complaint(None, hooks=[dict(yolox, num_last_epochs=11)], **EPOCHS)
    assert passes(None, hooks=[dict(yolox, num_last_epochs=10)], **EPOCHS)


def test_settings_that_never_write_a_checkpoint_are_refused():
    hook = dict(interval=700, by_epoch=False, save_last=False)
    top = dict(default_hooks=dict(checkpoint=hook))
    found = complaint(None, top=top, **ITERATIONS)
    assert "has save_last=False and interval=700: it would save nothing" in found
    assert passes(
        None, top=dict(default_hooks=dict(checkpoint=dict(hook, interval=600))), **ITERATIONS
    )
    hook["save_last"] = True
    assert passes(None, top=top, **ITERATIONS)
    late = dict(hook, save_last=False, interval=100, save_begin=601)
    found = complaint(None, top=dict(default_hooks=dict(checkpoint=late)), **ITERATIONS)
    assert "has save_last=False and save_begin=601: it would save nothing" in found
    late["save_begin"] = 600  # MMEngine saves in the iteration save_begin itself
    assert passes(None, top=dict(default_hooks=dict(checkpoint=late)), **ITERATIONS)


def test_validation_that_never_happens_is_refused():
    top = dict(val_dataloader=dict(batch_size=1))
    for length in (ITERATIONS, EPOCHS):
        total = length.get("max_iters") or length["max_epochs"]
        found = complaint(None, top=top, **length, val_begin=total + 2)
        assert f"but train_cfg.val_begin={total + 2}: it would never validate (to" in found
        assert found.endswith("train_cfg.val_begin=1")
        for begin in (1, total, total + 1):
            assert passes(None, top=top, **length, val_begin=begin)
        assert passes(None, top={}, **length, val_begin=total + 2)
        # After the last iteration or epoch, the loop validates, whatever the interval.
        assert passes(None, top=top, **length, val_interval=total + 1)


def test_a_run_says_that_it_does_not_validate():
    config = Config(dict(train_cfg=dict(ITERATIONS, val_begin=601), val_dataloader=dict()))
    assert describe_validation(config, training_length(config)) == (
        "No validation: train_cfg.val_begin=601 is after train_cfg.max_iters=600"
    )
    config.train_cfg.val_begin = 600
    assert describe_validation(config, training_length(config)) is None
    assert describe_validation(config, None) is None


def test_settings_that_need_validation_are_refused_without_it():
    best = dict(default_hooks=dict(checkpoint=dict(interval=1, save_best="auto", by_epoch=False)))
    found = complaint(None, top=best, **ITERATIONS)
    assert "save_best=auto needs validation, and there is no val_dataloader: take" in found
    validated = dict(best, val_dataloader=dict(batch_size=1))
    stopping = dict(type="EarlyStoppingHook", monitor="loss")
    assert passes(None, top=validated, hooks=[stopping], **ITERATIONS)
    found = complaint(None, top=validated, hooks=[stopping], **ITERATIONS, val_begin=601)
    assert "save_best=auto needs validation, and train_cfg.val_begin=601 disables" in found
    assert "custom_hooks.0 (EarlyStoppingHook) needs validation" in found


def test_intervals_of_hooks_that_are_never_reached_are_refused():
    for kind in ("mmdet.CheckInvalidLossHook", "MeanTeacherHook"):
        assert passes(None, hooks=[dict(type=kind, interval=600)], **ITERATIONS)
        found = complaint(None, hooks=[dict(type=kind, interval=601)], **ITERATIONS)
        assert "has interval=601: it never acts" in found
    # The first of 600 steps copies the weights; the average of step 600 is 599 steps later.
    assert passes(None, hooks=[dict(type="EMAHook", interval=599)], **ITERATIONS)
    found = complaint(None, hooks=[dict(type="EMAHook", interval=600)], **ITERATIONS)
    assert "would be those of its first iteration" in found
    late = dict(type="EMAHook", begin_iter=101)  # 500 steps remain
    assert passes(None, hooks=[dict(late, interval=499)], **ITERATIONS)
    assert complaint(None, hooks=[dict(late, interval=500)], **ITERATIONS)
