"""``--iterations`` scales a schedule to another length; expected numbers are by hand."""

import copy

import pytest
import torch
from mmengine.config import Config
from mmengine.registry import PARAM_SCHEDULERS
from shipped_configs import runnable

from drivemim.config.loading import load_config
from drivemim.errors import ConfigError
from drivemim.training.run import train
from drivemim.training.schedule import check_schedule
from drivemim.training.schedule_scaling import scale_training
from drivemim.training.training_length import training_length


def scaled(iterations, schedulers, **loop):
    config = Config({"train_cfg": {"type": "IterBasedTrainLoop", "max_iters": 9000, **loop},
                     "param_scheduler": schedulers})  # fmt: skip
    scale_training(config, iterations)
    return config


def test_warm_up_and_cosine_keep_their_fractions():
    config = scaled(1000, [
        {"type": "LinearLR", "by_epoch": False, "begin": 0, "end": 500},
        {"type": "CosineAnnealingLR", "by_epoch": False, "begin": 500, "end": 9000, "T_max": 8500},
    ])  # fmt: skip
    # 500 of 9,000 are 55.6 of 1,000, and 8,500 are 944.4.
    assert config.param_scheduler[0] == {
        "type": "LinearLR", "by_epoch": False, "begin": 0, "end": 56,
    }  # fmt: skip
    assert config.param_scheduler[1]["begin"] == 56
    assert config.param_scheduler[1]["end"] == 1000
    assert config.param_scheduler[1]["T_max"] == 944
    assert config.train_cfg.max_iters == 1000
    check_schedule(config)


def test_milestones_and_a_validation_after_the_end_are_scaled():
    config = scaled(
        18000, {"type": "MultiStepLR", "by_epoch": False, "milestones": [6000, 8250], "end": 1e9},
        val_begin=9001,
    )  # fmt: skip
    assert config.param_scheduler["milestones"] == [12000, 16500]
    assert config.param_scheduler["end"] == 1e9
    assert config.train_cfg.val_begin == 18001
    assert scaled(3, [], val_begin=1).train_cfg.val_begin == 1


def test_a_short_training_reaches_its_rate():
    """MMEngine's LinearLR of one iteration would stay at its first factor."""
    schedulers = [
        {"type": "LinearLR", "by_epoch": False, "start_factor": 0.01, "begin": 0, "end": 500},
        {"type": "CosineAnnealingLR", "by_epoch": False, "begin": 500, "end": 9000},
    ]
    config = scaled(20, schedulers)
    assert config.param_scheduler[0]["end"] == config.param_scheduler[1]["begin"] == 2
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=1.0)
    built = [PARAM_SCHEDULERS.build({**each, "optimizer": optimizer})
             for each in config.param_scheduler]  # fmt: skip
    rates = []
    for _ in range(20):
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        for each in built:
            each.step()
    assert rates[:2] == [0.01, 1.0]
    assert rates[-1] < 0.05
    assert scaled(2, schedulers).param_scheduler[0]["end"] == 1


LENGTHS = (2, 3, 4, 5, 7, 10, 13, 20, 33, 40, 50, 97, 100, 333, 1000, 1234, 4501, 8999, 9001, 20000)
WARM_UP = {"type": "LinearLR", "start_factor": 0.01, "begin": 0, "end": 500}
SCHEDULES = {
    "cosine": [WARM_UP, {"type": "CosineAnnealingLR", "T_max": 8500, "begin": 500, "end": 9000}],
    "one cycle": [WARM_UP, {"type": "OneCycleLR", "eta_max": 0.01, "total_steps": 8500,
                            "begin": 500, "end": 9000}],
    "restarts": [{"type": "CosineRestartLR", "periods": [3000, 3000, 3000], "eta_min": 0,
                  "restart_weights": [1, 0.5, 0.25]}],
    "steps": [WARM_UP, {"type": "MultiStepLR", "milestones": [6000, 8250]}],
    "late steps": [{"type": "MultiStepLR", "milestones": [8000, 8990], "begin": 0, "end": 9000}],
    "one late step": [WARM_UP, {"type": "StepLR", "step_size": 8400, "begin": 500, "end": 9000}],
    "many steps": [{"type": "StepLR", "step_size": 300, "gamma": 0.55}],
    "exponential": [{"type": "ExponentialLR", "gamma": 0.999}],
    "YOLOX": [
        {"type": "QuadraticWarmupLR", "begin": 0, "end": 500},
        {"type": "CosineAnnealingLR", "T_max": 8000, "begin": 500, "end": 8500},
        {"type": "ConstantLR", "factor": 1, "begin": 8500, "end": 9000},
    ],
    "two warm-ups": [
        {"type": "ConstantLR", "factor": 0.1, "begin": 0, "end": 200},
        {"type": "LinearLR", "start_factor": 0.1, "begin": 200, "end": 500},
        {"type": "CosineAnnealingLR", "begin": 500, "end": 9000},
    ],
}  # fmt: skip
# Iterations of the shortest training with room for all parts: 2 + 1 + 1, and 2 + 2 + 1.
FEWEST = {"YOLOX": 4, "two warm-ups": 5}


@pytest.mark.parametrize("name", SCHEDULES)
def test_schedules_scaled_to_any_length_pass_the_check(name):
    schedulers = [{**each, "by_epoch": False} for each in SCHEDULES[name]]
    check_schedule(scaled(9000, copy.deepcopy(schedulers)))
    for iterations in LENGTHS:
        if iterations < FEWEST.get(name, 2):
            with pytest.raises(ConfigError, match=rf"give {FEWEST[name]} or more"):
                scaled(iterations, copy.deepcopy(schedulers))
        else:
            check_schedule(scaled(iterations, copy.deepcopy(schedulers)))


def test_periods_that_span_a_scheduler_still_span_it_after_rounding():
    config = scaled(333, [
        {"type": "LinearLR", "by_epoch": False, "begin": 0, "end": 500},
        {"type": "CosineAnnealingLR", "by_epoch": False, "begin": 500, "end": 9000, "T_max": 8500},
    ])  # fmt: skip
    # 500 of 9,000 are 18.5 of 333, rounded to 18, so T_max is 333 - 18 = 315. Scaled alone, 8,500
    # would be 314.5.
    assert config.param_scheduler[1] == {
        "type": "CosineAnnealingLR", "by_epoch": False, "begin": 18, "end": 333, "T_max": 315,
    }  # fmt: skip
    schedule = {"type": "CosineRestartLR", "by_epoch": False, "periods": [3000, 3000, 3000],
                "restart_weights": [1, 0.5, 0.25]}  # fmt: skip
    # The periods end at 33.3, 66.7 and 100.
    assert scaled(100, dict(schedule)).param_scheduler["periods"] == [33, 34, 33]
    two = scaled(2, dict(schedule)).param_scheduler  # two iterations have no room for a third
    assert (two["periods"], two["restart_weights"]) == ([1, 1], [1, 0.5])
    steps = {"type": "MultiStepLR", "by_epoch": False, "milestones": [8000, 8990], "end": 9000}
    assert scaled(10, dict(steps)).param_scheduler["milestones"] == [8, 9]
    assert scaled(2, dict(steps)).param_scheduler["milestones"] == [1]
    decay = {"type": "ExponentialLR", "by_epoch": False, "gamma": 0.81}
    assert scaled(18000, decay).param_scheduler["gamma"] == pytest.approx(0.9)


def test_regular_steps_by_hand():
    def steps(iterations, step_size, gamma, **span):
        schedule = {"type": "StepLR", "by_epoch": False, "step_size": step_size, "gamma": gamma}
        found = scaled(iterations, {**schedule, **span}).param_scheduler
        return found["step_size"], found["gamma"]

    assert steps(900, 3000, 0.1) == (300, 0.1)  # steps after 3,000 and 6,000 of 9,000
    # One step after 8,000 of 9,000 is at 1.8 of 2 iterations: rounded to 2, it would be the end.
    assert steps(2, 8000, 0.1) == (1, 0.1)
    # Steps after 4,000 and 8,000: the size is 3.6 of 8 iterations; with 4, step 2 would be the end.
    assert steps(8, 4000, 0.1) == (3, 0.1)
    # 29 steps: 40 iterations can have 39 or 19. With 39 steps and a larger gamma, the rate ends as
    # low as before.
    step_size, gamma = steps(40, 300, 0.5)
    assert step_size == 1
    assert gamma**39 == pytest.approx(0.5**29)
    # 10 iterations have room for 9 steps only: each stands for three of the 29 steps.
    assert steps(10, 300, 0.5) == (1, pytest.approx(0.5**3))
    # The scheduler spans 5,000 to 9,000: the size is scaled within this span.
    assert steps(9, 3000, 0.1, begin=5000, end=9000) == (3, 0.1)
    assert steps(18000, 9000, 0.1) == (18000, 0.1)  # never steps; check_schedule refuses this


def test_a_step_that_the_shortest_schedule_has_no_room_for_is_left_out():
    warm_up = {"type": "LinearLR", "by_epoch": False, "start_factor": 0.1, "begin": 0, "end": 500}
    step = {"type": "StepLR", "by_epoch": False, "step_size": 6000, "begin": 500, "end": 9000}
    config = scaled(2, [warm_up, step])
    assert [config.param_scheduler[1][key] for key in ("begin", "end", "step_size")] == [1, 2, 1]
    check_schedule(config)


def test_intervals_that_change_during_the_training_are_scaled():
    intervals = [(1500, 500), (8999, 100), (20000, 1)]
    loop = scaled(90, [], dynamic_intervals=intervals).train_cfg
    assert [tuple(each) for each in loop.dynamic_intervals] == [(15, 500), (90, 100), (200, 1)]
    loop = scaled(2, [], dynamic_intervals=intervals).train_cfg
    assert [tuple(each) for each in loop.dynamic_intervals] == [(1, 500), (2, 100), (4, 1)]
    assert "dynamic_intervals" not in scaled(90, []).train_cfg


def test_starts_of_validation_averaging_and_checkpoints_are_scaled():
    config = Config({
        "train_cfg": {"type": "IterBasedTrainLoop", "max_iters": 9000, "val_begin": 6000},
        "custom_hooks": [{"type": "EMAHook", "begin_iter": 4500}, {"type": "Other", "begin": 1}],
        "default_hooks": {
            "checkpoint": {"type": "CheckpointHook", "by_epoch": False, "save_begin": 3000},
        },
    })  # fmt: skip
    scale_training(config, 900)
    assert config.train_cfg.val_begin == 600
    assert config.custom_hooks[0].begin_iter == 450
    assert config.default_hooks.checkpoint.save_begin == 300
    scale_training(config, 2)
    assert (config.train_cfg.val_begin, config.custom_hooks[0].begin_iter) == (1, 1)


def test_lengths_that_cannot_be_set_are_refused():
    for iterations in (0, 1):
        with pytest.raises(ConfigError, match=f"--iterations {iterations}: train for at least 2"):
            scaled(iterations, [])
    with pytest.raises(ConfigError, match=r"counts no iterations; set .*max_epochs=N"):
        scaled(10, [], type="EpochBasedTrainLoop", max_epochs=3)


@pytest.mark.parametrize("factor", [0.013, 0.5, 3.0])
@pytest.mark.parametrize("path", runnable("pretrain"), ids=lambda path: path.stem)
def test_every_pretraining_config_can_be_scaled(path, factor):
    config = load_config(path)
    iterations = max(20, round(training_length(config).units * factor))
    scale_training(config, iterations)
    check_schedule(config)
    assert training_length(config).units == iterations


def test_a_run_is_scaled_or_suggests_it(repository, tmp_path):
    toy = repository / "tests" / "toys" / "configs" / "toy.py"
    runner = train(toy, work_dir=tmp_path / "scaled_run", iterations=3)
    assert runner.iter == 3
    with pytest.raises(ConfigError, match="Give --iterations 3 instead, which scales the schedule"):
        train(toy, work_dir=tmp_path / "hint", options={"train_cfg.max_iters": 3})
    with pytest.raises(ConfigError, match="give one"):
        train(toy, work_dir=tmp_path / "x", iterations=3, options={"train_cfg.max_iters": 3})
    late = {"custom_hooks": [{"type": "EMAHook", "interval": 100}]}
    with pytest.raises(ConfigError, match=r"^--iterations 3, but .* In place of --iterations, set"):
        train(toy, work_dir=tmp_path / "x", iterations=3, options=late)
    with pytest.raises(ConfigError, match=r"^--iterations=5 is not a multiple of .* use 6"):
        train(toy, work_dir=tmp_path / "x", iterations=5,
              options={"optim_wrapper.accumulative_counts": 3,
                       "default_hooks.checkpoint.interval": 3})  # fmt: skip
    assert not (tmp_path / "hint").exists()
