"""Schedules for two lengths of training, refused with a message or accepted."""

import pytest
from mmengine.config import Config

from drivemim.errors import ConfigError
from drivemim.training.schedule import check_schedule

EPOCHS = dict(type="EpochBasedTrainLoop", max_epochs=12)
ITERATIONS = dict(type="IterBasedTrainLoop", max_iters=600)


def complaint(param_scheduler, epoch_length=None, hooks=(), top=None, **train_cfg):
    config = Config(dict(train_cfg=train_cfg, param_scheduler=param_scheduler, **(top or {})))
    config.custom_hooks = list(hooks)
    with pytest.raises(ConfigError) as error:
        check_schedule(config, epoch_length)
    return str(error.value)


def passes(param_scheduler, epoch_length=None, hooks=(), top=None, **train_cfg):
    config = Config(dict(train_cfg=train_cfg, param_scheduler=param_scheduler, **(top or {})))
    config.custom_hooks = list(hooks)
    check_schedule(config, epoch_length)
    return True
