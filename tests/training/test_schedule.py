"""``check_schedule``: schedules that do not fit the length of the training, and their fixes."""

from pathlib import Path

import mmdet
import pytest
import torch
from mmengine.config import Config
from mmengine.optim import CosineAnnealingLR
from mmengine.registry import PARAM_SCHEDULERS
from mmengine.runner import EpochBasedTrainLoop
from schedule_checks import EPOCHS, ITERATIONS, complaint, passes
from shipped_configs import config_name, runnable

from drivemim.config.loading import load_config
from drivemim.errors import ConfigError
from drivemim.training.run import train
from drivemim.training.schedule import check_schedule

ROOT = Path(__file__).resolve().parents[2]
PRETRAIN = ROOT / "configs" / "pretrain" / "vit_base_object_nuscenes.py"
TOYS = ROOT / "tests" / "toys" / "configs"
_MMDETECTION = Path(mmdet.__file__).parent / ".mim" / "configs"
MMDETECTION = [
    _MMDETECTION / f"{name}.py"
    for name in (
        "faster_rcnn/faster-rcnn_r50_fpn_1x_coco",
        "cascade_rpn/cascade-rpn_faster-rcnn_r50-caffe_fpn_1x_coco",
        "detr/detr_r50_8xb2-150e_coco",
        "dino/dino-4scale_r50_8xb2-12e_coco",
        "yolox/yolox_s_8xb8-300e_coco",
        "rtmdet/rtmdet_s_8xb32-300e_coco",
        "ssd/ssd300_coco",
        "mask2former/mask2former_r50_8xb2-lsj-50e_coco",
        "soft_teacher/soft-teacher_faster-rcnn_r50-caffe_fpn_180k_semi-0.1-coco",
        "strong_baselines/mask-rcnn_r50-caffe_fpn_rpn-2conv_4conv1fc_syncbn-all_lsj-100e_coco",
    )
]
WARM_UP = dict(type="LinearLR", start_factor=0.1, by_epoch=False, begin=0, end=4)


def rates(settings, steps, epoch_length):
    """Return the rates that MMEngine sets at each step, for a learning rate of 1."""
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0)
    default = dict(optimizer=optimizer, epoch_length=epoch_length)
    scheduler = PARAM_SCHEDULERS.build(settings, default_args=default)
    found = []
    for _ in range(steps):
        found.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        scheduler.step()
    return found


@pytest.mark.parametrize("path", runnable(), ids=config_name)
def test_every_shipped_config_passes(path):
    check_schedule(load_config(path))


def test_a_short_run_inside_a_long_warm_up_is_refused_with_every_key():
    config = load_config(PRETRAIN, {"train_cfg.max_iters": 20})
    with pytest.raises(ConfigError) as error:
        check_schedule(config)
    assert str(error.value) == (
        "train_cfg.max_iters=20, but param_scheduler.0 (LinearLR) warms up for 4000 iterations of "
        "20; param_scheduler.1 (CosineAnnealingLR) ends after 80000 iterations of 20. Set what "
        "belongs together: --cfg-options train_cfg.max_iters=20 param_scheduler.0.end=2 "
        "param_scheduler.1.begin=2 param_scheduler.1.end=20"
    )
    _, _, fix = str(error.value).partition("--cfg-options ")
    options = {key: int(value) for key, _, value in (each.partition("=") for each in fix.split())}
    check_schedule(load_config(PRETRAIN, options))


def test_a_warm_up_of_one_iteration_is_refused_because_the_rate_would_stay_down():
    warm_up = dict(type="LinearLR", start_factor=0.01, by_epoch=False, begin=0, end=1)
    cosine = dict(type="CosineAnnealingLR", by_epoch=False, begin=1, end=9000)
    loop = dict(type="IterBasedTrainLoop")
    found = complaint([warm_up, cosine], **loop, max_iters=9000)
    assert "ends after one iteration, and MMEngine then leaves the rate where" in found
    assert "param_scheduler.0.end=2 param_scheduler.1.begin=2 param_scheduler.1.end=9000" in found
    assert passes([dict(warm_up, end=2), dict(cosine, begin=2)], **loop, max_iters=9000)
    assert passes([dict(warm_up, start_factor=1.0), cosine], **loop, max_iters=9000)
    assert passes([warm_up], **loop, max_iters=1)


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


def test_a_schedule_is_refused_before_anything_is_written(tmp_path):
    with pytest.raises(ConfigError, match="param_scheduler.1.end=2"):
        train(TOYS / "toy.py", work_dir=tmp_path / "run", options={"train_cfg.max_iters": 2})
    assert not (tmp_path / "run").exists()


def test_schedulers_by_epoch_are_refused_in_loops_of_iterations():
    cosine = dict(type="CosineAnnealingLR", begin=0, end=12)  # by_epoch is MMEngine's default
    found = complaint([WARM_UP, cosine], type="IterBasedTrainLoop", max_iters=600)
    assert "param_scheduler.1 (CosineAnnealingLR) has by_epoch=True, and there are no" in found
    assert found.endswith(
        "train_cfg.max_iters=600 param_scheduler.0.end=4 param_scheduler.1.by_epoch=False "
        "param_scheduler.1.end=600"
    )
    assert complaint(cosine, by_epoch=False, max_iters=600)


def test_milestones_after_the_training_are_refused():
    steps = dict(type="MultiStepLR", begin=0, end=12, by_epoch=True, milestones=[8, 11], gamma=0.1)
    warm_up = dict(WARM_UP, end=500)
    loop = dict(type="EpochBasedTrainLoop")
    assert passes([warm_up, steps], **loop, max_epochs=12)
    # For 24 epochs, both milestones are reached; a later end would not change a rate.
    assert passes([warm_up, steps], **loop, max_epochs=24)
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


def test_the_period_of_a_cosine_must_fit_its_length():
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


def test_schedules_that_may_end_earlier_or_never():
    loop = dict(type="IterBasedTrainLoop", max_iters=600)
    assert passes(WARM_UP, **loop)  # the rate stays constant after the warm-up
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


def test_schedulers_that_convert_epochs_to_iterations_are_allowed_in_loops_of_iterations():
    """600 iterations of 50 are 12 epochs."""
    cosine = dict(type="CosineAnnealingLR", convert_to_iter_based=True, begin=0, end=12, T_max=12)
    found = rates(cosine, 600, 50)
    assert found[300] == pytest.approx(0.5)
    assert found[599] < 1e-4
    assert passes(cosine, **ITERATIONS)  # the length of an epoch is not yet known
    assert passes(cosine, epoch_length=50, **ITERATIONS)
    assert passes(cosine, epoch_length=50, **EPOCHS)
    found = complaint(cosine, epoch_length=100, **ITERATIONS)
    assert "param_scheduler (CosineAnnealingLR) ends after 12 epochs of 6" in found
    assert found.endswith("max_iters=600 param_scheduler.end=6 param_scheduler.T_max=6")
    # Without an end, MMEngine takes the number of epochs: a loop of iterations has one.
    open_end = dict(type="CosineAnnealingLR", convert_to_iter_based=True)
    found = complaint(open_end, epoch_length=50, **ITERATIONS)
    assert "ends after 1 epochs of 12" in found
    assert found.endswith("max_iters=600 param_scheduler.end=12")
    assert passes(open_end, epoch_length=50, **EPOCHS)


def test_milestones_count_from_where_a_schedule_begins():
    steps = dict(type="MultiStepLR", begin=2, end=12, milestones=[8, 11], gamma=0.1)
    # Counted from epoch 2, the milestone 11 is epoch 13, which the 12 epochs do not reach.
    assert rates(steps, 12, 1)[9:] == pytest.approx([1.0, 0.1, 0.1])
    found = complaint(steps, **EPOCHS)
    assert "(MultiStepLR) has milestones [11], after 10 epochs" in found
    assert found.endswith("begin=2 param_scheduler.end=12 param_scheduler.milestones=[8]")
    assert passes(dict(steps, milestones=[6, 9]), **EPOCHS)
    # The milestone 8 is after the scheduler's own end, although another scheduler follows.
    early = dict(type="MultiStepLR", begin=0, end=6, milestones=[4, 8])
    found = complaint([early, dict(type="ConstantLR", factor=1, begin=6, end=12)], **EPOCHS)
    assert "param_scheduler.0 (MultiStepLR) has milestones [8], after 6 epochs" in found


def test_schedules_of_rate_and_momentum_are_checked_separately():
    rate = dict(type="CosineAnnealingLR", begin=0, end=6, T_max=6)
    momentum = dict(type="CosineAnnealingMomentum", begin=0, end=12, T_max=12, eta_min=0.8)
    found = complaint([rate, momentum], **EPOCHS)
    assert "param_scheduler.0 (CosineAnnealingLR) ends after 6 epochs of 12" in found
    assert "Momentum)" not in found
    whole = dict(rate, end=12, T_max=12)
    assert passes([whole, momentum], **EPOCHS)
    found = complaint([whole, dict(momentum, end=6, T_max=6)], **EPOCHS)
    assert "param_scheduler.1 (CosineAnnealingMomentum) ends after 6 epochs of 12" in found
    warm_up = dict(type="LinearMomentum", start_factor=0.9, begin=0, end=2)
    assert passes([whole, warm_up], **EPOCHS)
    assert "warms up for 20 epochs of 12" in complaint([whole, dict(warm_up, end=20)], **EPOCHS)


def test_steps_cycles_and_periods_that_do_not_fit_the_length_are_refused():
    found = complaint(dict(type="StepLR", step_size=30), **EPOCHS)
    assert "has step_size=30 for 12 epochs: it never steps" in found
    assert found.endswith("param_scheduler.step_size=8")
    assert passes(dict(type="StepLR", step_size=4), **EPOCHS)
    cycle = dict(type="OneCycleLR", eta_max=0.1, total_steps=500, by_epoch=False)
    assert "has total_steps=500 for 600 iterations" in complaint(cycle, **ITERATIONS)
    assert passes(dict(cycle, total_steps=600), **ITERATIONS)
    restarts = dict(type="CosineRestartLR", periods=[200, 200], eta_min=0, by_epoch=False)
    found = complaint(restarts, **ITERATIONS)
    assert "has periods of 400 in all for 600 iterations" in found
    assert found.endswith("param_scheduler.periods=[300,300]")
    assert passes(dict(restarts, periods=[200, 400]), **ITERATIONS)


def test_a_minimum_above_the_learning_rate_is_refused():
    """As with RTMDet's ``eta_min`` if an option lowers the learning rate alone."""
    cosine = dict(type="CosineAnnealingLR", eta_min=2e-4, begin=6, end=12, T_max=6)
    high, low = ({"optim_wrapper": {"optimizer": {"lr": lr}}} for lr in (4e-3, 1e-4))
    assert passes(cosine, top=high, **EPOCHS)
    found = complaint(cosine, top=low, **EPOCHS)
    assert (
        "(CosineAnnealingLR) has eta_min=0.0002, above optim_wrapper.optimizer.lr=0.0001" in found
    )
    assert found.endswith("max_epochs=12 param_scheduler.eta_min=5e-06")
    scaled = {**low, "auto_scale_lr": {"enable": True, "base_batch_size": 16}}
    assert passes(cosine, top=scaled, **EPOCHS)
    momentum = dict(type="CosineAnnealingMomentum", eta_min=0.8, begin=0, end=12, T_max=12)
    assert passes(momentum, top=low, **EPOCHS)


def test_an_eta_min_ratio_above_one_is_refused():
    cosine = dict(type="CosineAnnealingLR", end=12, eta_min_ratio=0.05)
    assert passes(cosine, **EPOCHS)
    found = complaint(dict(cosine, eta_min_ratio=5), **EPOCHS)
    assert "(CosineAnnealingLR) has eta_min_ratio=5, above 1: the rate would rise" in found
    assert found.endswith("max_epochs=12 param_scheduler.eta_min_ratio=0.05")


def test_gaps_and_overlaps_of_common_schedules_pass():
    """RTMDet's rate is constant for half of the training; warm-ups overlap the next scheduler."""
    flat = dict(type="CosineAnnealingLR", by_epoch=True, begin=6, end=12, T_max=6,
                convert_to_iter_based=True)  # fmt: skip
    warm_up = dict(type="LinearLR", start_factor=1e-5, by_epoch=False, begin=0, end=100)
    assert passes([warm_up, flat], epoch_length=50, **EPOCHS)
    steps = dict(type="MultiStepLR", begin=0, end=12, by_epoch=True, milestones=[8, 11])
    assert passes([warm_up, steps], epoch_length=50, **EPOCHS)
    assert passes([warm_up, dict(type="PolyLR", by_epoch=False)], epoch_length=50, **EPOCHS)
    assert passes(dict(type="ExponentialLR", gamma=0.9), **EPOCHS)


@pytest.mark.parametrize("epochs", [300, 64, 50, 30, 21])
def test_the_schedule_of_mmdetections_yolox_passes(epochs):
    """Its T_max is counted from the beginning of the training, not of the cosine."""
    last = epochs - 15
    recipe = [
        dict(type="QuadraticWarmupLR", by_epoch=True, begin=0, end=5),
        dict(type="CosineAnnealingLR", by_epoch=True, begin=5, T_max=last, end=last),
        dict(type="ConstantLR", by_epoch=True, factor=1, begin=last, end=epochs),
    ]
    loop = dict(type="EpochBasedTrainLoop", max_epochs=epochs)
    assert passes(recipe, **loop)


def test_a_cosine_after_no_warm_up_must_end_at_its_period():
    """With a period twice its length, the cosine would stop half-way."""
    half = dict(type="CosineAnnealingLR", begin=6, end=12, T_max=12)
    assert "has T_max=12 for 6 epochs" in complaint(half, **EPOCHS)


def test_a_scheduler_of_length_zero_is_refused():
    recipe = [
        dict(type="QuadraticWarmupLR", begin=0, end=5),
        dict(type="CosineAnnealingLR", begin=5, T_max=5, end=5),
        dict(type="ConstantLR", factor=1, begin=5, end=12),
    ]
    found = complaint(recipe, **EPOCHS)
    assert found == (
        "train_cfg.max_epochs=12, but param_scheduler.1 (CosineAnnealingLR) is empty, begin=5 and "
        "end=5: take it out, or set a later end"
    )


def test_warm_ups_may_have_parts_but_not_begin_late():
    first = dict(type="ConstantLR", by_epoch=False, factor=0.1, begin=0, end=50)
    second = dict(type="LinearLR", by_epoch=False, start_factor=0.1, begin=50, end=100)
    assert passes([first, second], **ITERATIONS)
    found = complaint(dict(second, begin=10), **ITERATIONS)
    assert "(LinearLR) begins to warm up at iteration 10 of 600, where the rate falls from" in found
    assert "warms up for 700 iterations" in complaint(dict(second, end=700), **ITERATIONS)


def test_milestones_before_an_early_end():
    """The end of a MultiStepLR changes no rate after its last milestone."""
    steps = dict(type="MultiStepLR", by_epoch=False, milestones=[200, 290], gamma=0.1)
    whole, short = (rates(dict(steps, end=end), 600, 1) for end in (600, 300))
    assert whole == short
    assert passes(dict(steps, end=300), **ITERATIONS)
    found = complaint(dict(steps, end=290), **ITERATIONS)
    assert "ends after 290 iterations of 600" in found


def test_types_may_be_classes():
    cosine = dict(type=CosineAnnealingLR, begin=0, end=6)
    assert "(CosineAnnealingLR) ends after 6 epochs of 12" in complaint(
        cosine, type=EpochBasedTrainLoop, max_epochs=12
    )


@pytest.mark.parametrize("path", MMDETECTION, ids=lambda path: f"{path.parent.name}/{path.stem}")
def test_every_schedule_of_mmdetection_passes(path):
    config = Config.fromfile(path)
    check_schedule(config)
    check_schedule(config, epoch_length=1000)
