"""Schedules in other units or without an end; the settings that fix them, computed by hand."""

import pytest
from mmengine.config import Config
from schedule_checks import ITERATIONS, complaint, passes

from drivemim.training.schedule import check_schedule


def cured(found, param_scheduler, epoch_length=None, **train_cfg):
    """Apply the settings that the message ``found`` proposes; check and return the schedulers."""
    config = Config(dict(train_cfg=train_cfg, param_scheduler=param_scheduler))
    options = found.partition("--cfg-options ")[2].split()
    config.merge_from_dict({key: eval(value) for key, value in (o.split("=") for o in options)})
    check_schedule(config, epoch_length)
    return config.param_scheduler


LONG = dict(type="IterBasedTrainLoop", max_iters=90_000)


@pytest.mark.parametrize("end", [{}, {"end": 12}])
def test_milestones_in_epochs_become_iterations(end):
    """8 and 11 of 12 epochs are 60,000 and 82,500 of 90,000 iterations."""
    steps = [dict(type="MultiStepLR", begin=0, milestones=[8, 11], **end)]
    found = complaint(steps, **LONG)
    assert "(MultiStepLR) has by_epoch=True, and there are no epochs: it never acts" in found
    assert found.endswith("param_scheduler.0.milestones=[60000,82500]")
    assert cured(found, steps, **LONG)[0].milestones == [60_000, 82_500]
    # With epochs of 7,330 iterations: 8 * 7330 and 11 * 7330.
    found = complaint(steps, epoch_length=7330, **LONG)
    assert cured(found, steps, 7330, **LONG)[0].milestones == [58_640, 80_630]
    # 8 and 11 such epochs exceed the training, so take 8/12 and 11/12 of it again.
    found = complaint(steps, epoch_length=20_000, **LONG)
    assert cured(found, steps, 20_000, **LONG)[0].milestones == [60_000, 82_500]


def test_steps_and_warm_ups_in_epochs_become_iterations():
    steps = [dict(type="StepLR", step_size=8)]
    found = complaint(steps, **LONG)
    assert cured(found, steps, **LONG)[0].step_size == 60_000  # two thirds of the training
    found = complaint(steps, epoch_length=5000, **LONG)
    assert cured(found, steps, 5000, **LONG)[0].step_size == 40_000
    # 8 epochs are 8,000 iterations: with 11 such steps, the rate would end at 1e-11 of itself.
    found = complaint(steps, epoch_length=1000, **LONG)
    assert cured(found, steps, 1000, **LONG)[0].step_size == 60_000
    warmed = [
        dict(type="LinearLR", begin=0, end=1),
        dict(type="CosineAnnealingLR", begin=1, end=12),
    ]
    found = complaint(warmed, **LONG)
    # One of 12 epochs is 1/12 of the training.
    assert [each.end for each in cured(found, warmed, **LONG)] == [7500, 90_000]
    found = complaint(warmed, epoch_length=1000, **LONG)
    assert [each.end for each in cured(found, warmed, 1000, **LONG)] == [1000, 90_000]


def test_milestones_that_are_all_in_the_first_tenth_are_refused():
    early = [dict(type="MultiStepLR", milestones=[8, 11], by_epoch=False, end=90_000)]
    found = complaint(early, **LONG)
    assert "has milestones [8, 11], all in the first tenth of 90000 iterations" in found
    assert cured(found, early, **LONG)[0].milestones == [60_000, 82_500]
    assert passes(dict(early[0], milestones=[8, 9000]), **LONG)


@pytest.mark.parametrize(
    "warm_up",
    [
        dict(type="LinearLR", start_factor=0.001, by_epoch=False),
        dict(type="LinearMomentum", start_factor=0.9, by_epoch=False),
        dict(type="ConstantLR", factor=0.001, by_epoch=False),
        dict(type="mmdet.QuadraticWarmupLR", by_epoch=False),
    ],
    ids=lambda warm_up: warm_up["type"],
)
def test_a_warm_up_without_an_end_is_refused(warm_up):
    """MMEngine would let it last the whole training. The proposed end is 600 / 12 = 50."""
    found = complaint([warm_up], **ITERATIONS)
    assert "has no end: it would warm up during the whole training" in found
    assert found.endswith("max_iters=600 param_scheduler.0.end=50")
    assert cured(found, [warm_up], **ITERATIONS)[0].end == 50
    assert passes(dict(type="ConstantLR", factor=1, by_epoch=False), **ITERATIONS)


@pytest.mark.parametrize(
    "lowers",
    [
        dict(type="PolyLR"),
        dict(type="CosineAnnealingLR", eta_min=0),
        dict(type="LinearLR", start_factor=1.0, end_factor=0.1),
        dict(type="PolyMomentum"),
    ],
    ids=lambda lowers: lowers["type"],
)
def test_an_infinite_end_is_refused(lowers):
    """Without an end, MMEngine takes the training's; an end of 1e9 means infinity."""
    lowers = dict(lowers, by_epoch=False)
    assert passes([lowers], **ITERATIONS)
    endless = [dict(lowers, end=1_000_000_000)]
    found = complaint(endless, **ITERATIONS)
    assert "has no end: it would never proceed" in found
    assert cured(found, endless, **ITERATIONS)[0].end == 600


def test_a_milestone_that_is_not_in_a_list_is_refused():
    steps = [dict(type="MultiStepLR", by_epoch=False, milestones=500)]
    found = complaint(steps, **ITERATIONS)
    assert "has milestones=500, which is not a list" in found
    assert cured(found, steps, **ITERATIONS)[0].milestones == [500]
