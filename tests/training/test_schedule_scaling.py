"""``--iterations``: the schedule of another length, by hand."""

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


def test_steps_and_no_validation():
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
    assert not (tmp_path / "hint").exists()
