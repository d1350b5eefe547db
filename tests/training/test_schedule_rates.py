"""The learning rate under several schedulers, computed by hand."""

import pytest
import torch
from mmengine.config import Config
from mmengine.registry import PARAM_SCHEDULERS

from drivemim.errors import ConfigError
from drivemim.training.schedule import check_schedule

ITERATIONS = dict(type="IterBasedTrainLoop", max_iters=1000)
EPOCHS = dict(type="EpochBasedTrainLoop", max_epochs=40)


def check(*schedulers, loop=None, epoch_length=None, lr=0.01):
    config = Config(
        dict(
            train_cfg=loop or ITERATIONS,
            param_scheduler=list(schedulers),
            optim_wrapper=dict(optimizer=dict(type="SGD", lr=lr)),
        )
    )
    check_schedule(config, epoch_length)


def iterations(kind, **settings):
    return dict(type=kind, by_epoch=False, **settings)


COSINE = iterations("CosineAnnealingLR", T_max=1000, end=1000)
STEPS = iterations("MultiStepLR", milestones=[700], gamma=0.1, end=1000)


@pytest.mark.parametrize(
    ("schedulers", "message"),
    [
        # The last of 100 steps is cos^2(0.99 pi / 2) = 2.5e-4.
        (
            [iterations("CosineAnnealingLR", T_max=100, end=100, eta_min=0),
             iterations("MultiStepLR", milestones=[900], end=1000)],
            r"below 0\.0005 of its highest value for 90% of the training, first after step 99",
        ),
        # A tenth every 10 iterations: 1e-6 after 60 (rounding decides whether below), then 1e-7.
        (
            [iterations("StepLR", step_size=10, gamma=0.1)],
            r"below 1e-06 of its highest value for 9[34]% of the training, first after step [67]0",
        ),
        # 2^-20 is 9.5e-7.
        (
            [iterations("ExponentialLR", gamma=0.5)],
            r"below 1e-06 of its highest value for 98% of the training, first after step 20",
        ),
        ([COSINE, COSINE], "and param_scheduler.1 .* lower the rate at the same time"),
        ([COSINE, iterations("PolyLR", begin=500, end=1000)], "lower the rate at the same time"),
        ([iterations("MultiStepLR", milestones=[700, 900], gamma=10)], "gamma=10, above 1"),
        ([iterations("ExponentialLR", gamma=1.01)], r"gamma=1\.01, above 1"),
        (
            [STEPS, iterations("LinearLR", start_factor=0.001, begin=800, end=950)],
            "begins to warm up at iteration 800 of 1000, where the rate falls from 0.001 to 1e-06",
        ),
        (
            [iterations("LinearLR", start_factor=0.001, begin=50, end=100)],
            "at iteration 50 of 1000, where the rate falls from 0.01 to 1e-05",
        ),
        (
            [iterations("CosineAnnealingLR", T_max=1000, end=1000, eta_min=0.1)],
            r"eta_min=0\.1, above optim_wrapper\.optimizer\.lr=0\.01: the rate would rise",
        ),
        (
            [iterations("CosineAnnealingLR", T_max=400, end=400, eta_min_ratio=10),
             iterations("MultiStepLR", milestones=[900], begin=400, end=1000)],
            "eta_min_ratio=10, above 1",
        ),
    ],
)  # fmt: skip
def test_learning_rate_curves_that_are_refused(schedulers, message):
    with pytest.raises(ConfigError, match=message):
        check(*schedulers)


def test_epochs_are_counted_in_epochs():
    steps = dict(type="StepLR", step_size=1, gamma=0.1)
    with pytest.raises(ConfigError, match=r"for 8[25]% of the training, first after epoch [67]"):
        check(steps, loop=EPOCHS, epoch_length=50)
    warm_up = iterations("LinearLR", start_factor=0.001, begin=500, end=600)
    slower = dict(steps, step_size=15)
    check(slower, warm_up, loop=EPOCHS)  # the length of an epoch is not yet known
    with pytest.raises(ConfigError, match="warm up at iteration 500 of 2000"):
        check(slower, warm_up, loop=EPOCHS, epoch_length=50)


def test_mmdetection3ds_cyclic_schedule_passes():
    """In cyclic-40e, the rate rises to ten times itself in 16 of 40 epochs, and then falls."""
    converted = dict(by_epoch=True, convert_to_iter_based=True)
    cycle = [
        dict(type="CosineAnnealingLR", T_max=16, eta_min=0.1, begin=0, end=16, **converted),
        dict(type="CosineAnnealingLR", T_max=24, eta_min=1e-6, begin=16, end=40, **converted),
        dict(type="CosineAnnealingMomentum", T_max=16, eta_min=0.85 / 0.95, begin=0, end=16,
             **converted),
        dict(type="CosineAnnealingMomentum", T_max=24, eta_min=1, begin=16, end=40, **converted),
    ]  # fmt: skip
    check(*cycle, loop=EPOCHS)
    check(*cycle, loop=EPOCHS, epoch_length=50)


@pytest.mark.parametrize(
    "schedulers",
    [
        [iterations("LinearLR", start_factor=1e-5, end=100), COSINE],
        [iterations("ExponentialLR", gamma=0.999)],
        [iterations("StepLR", step_size=100, gamma=0.5)],
        [iterations("OneCycleLR", eta_max=0.1, total_steps=1000)],
        [iterations("CosineRestartLR", periods=[500, 500], restart_weights=[1, 0.5], eta_min=0)],
        [iterations("ConstantLR", factor=0.1, end=50),
         iterations("LinearLR", start_factor=0.1, begin=50, end=100), STEPS],
        [iterations("CosineAnnealingLR", T_max=500, end=500, eta_min_ratio=0.1),
         iterations("CosineAnnealingLR", T_max=500, begin=500, end=1000, eta_min_ratio=0.01)],
    ],
)  # fmt: skip
def test_learning_rate_curves_that_pass(schedulers):
    check(*schedulers)


@PARAM_SCHEDULERS.register_module()
class NotAScheduler:
    pass


def test_unknown_schedulers_are_left_to_the_runner():
    check(iterations("NotAScheduler"), iterations("ExponentialLR", gamma=0.5))
    check(iterations("NoSuchLR"), iterations("ExponentialLR", gamma=0.5))


def test_the_callers_config_and_optimizer_are_not_touched():
    before = repr(COSINE)
    check(COSINE)
    assert repr(COSINE) == before
    assert torch.is_grad_enabled()


def test_nothing_warns_of_a_schedule_that_is_right(recwarn):
    """The check must not cause PyTorch's warning "scheduler.step() before optimizer.step()"."""
    warm_up = iterations("LinearLR", start_factor=0.1, begin=0, end=100)
    check(warm_up, iterations("CosineAnnealingLR", T_max=900, begin=100, end=1000))
    assert [str(each.message) for each in recwarn] == []
