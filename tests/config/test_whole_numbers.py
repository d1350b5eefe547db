"""Numbers of iterations that are written as floats."""

import math

import pytest
from mmengine.config import Config

from drivemim.config.loading import load_config
from drivemim.config.whole_numbers import make_whole
from drivemim.errors import ConfigError
from drivemim.training.schedule import check_schedule
from drivemim.training.training_length import training_length


def test_a_whole_float_is_checked_like_an_int(repository):
    toy = repository / "tests" / "toys" / "configs" / "toy.py"
    config = load_config(toy, {"train_cfg.max_iters": 1e5})
    assert training_length(config).units == 100000
    with pytest.raises(ConfigError, match="train_cfg.max_iters=100000, but "):
        check_schedule(config)


def test_loop_and_schedulers_become_whole():
    config = Config({
        "train_cfg": {"max_epochs": 12.0, "val_interval": 1e0, "val_begin": 2},
        "param_scheduler": {
            "one": [{"type": "LinearLR", "begin": 0.0, "end": 500.0, "start_factor": 1.0}],
            "two": {"type": "MultiStepLR", "milestones": [8.0, 11], "end": math.inf},
        },
    })  # fmt: skip
    make_whole(config)
    found = repr([config.train_cfg.to_dict(), config.param_scheduler.to_dict()])
    assert found == repr([
        {"max_epochs": 12, "val_interval": 1, "val_begin": 2},
        {"one": [{"type": "LinearLR", "begin": 0, "end": 500, "start_factor": 1.0}],
         "two": {"type": "MultiStepLR", "milestones": [8, 11], "end": math.inf}},
    ])  # fmt: skip


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"train_cfg": {"max_iters": 1.5}}, r"train_cfg.max_iters=1.5 must be a whole number"),
        ({"train_cfg": {"max_iters": "100"}}, r"train_cfg.max_iters='100' must be a whole number"),
        ({"train_cfg": {"max_epochs": math.inf}}, r"train_cfg.max_epochs=inf must be a whole"),
        ({"param_scheduler": [{"type": "StepLR", "end": 2.5}]}, r"param_scheduler.0.end=2.5 must"),
        ({"param_scheduler": {"type": "MultiStepLR", "milestones": [1, 2.5]}},
         r"param_scheduler.milestones=2.5 must"),
    ],
)  # fmt: skip
def test_others_are_refused_by_their_keys(settings, message):
    with pytest.raises(ConfigError, match=message):
        make_whole(Config(settings))


def test_fractions_that_mmengine_takes_stay():
    """It multiplies epochs that act every iteration by their length, and rounds then."""
    half = {"type": "LinearLR", "convert_to_iter_based": True, "begin": 0, "end": 0.5}
    config = Config({"param_scheduler": [half, {"type": "CosineAnnealingLR", "T_max": 12.5}]})
    make_whole(config)
    assert config.param_scheduler[0]["end"] == 0.5
    assert config.param_scheduler[1]["T_max"] == 12.5
