"""Detectors without weights, and data sets with classes only, for comparisons."""

from pathlib import Path

import pytest
import torch
from mmengine.registry import MODELS, init_default_scope

from drivemim.config.loading import load_config
from drivemim.errors import ConfigError

ROOT = Path(__file__).resolve().parents[2]
TWO = ("pedestrian", "vehicle")


class Data(torch.utils.data.Dataset):
    """Data set that has nothing but classes and settings."""

    def __init__(self, classes=TWO, **attributes):
        self.metainfo = {"classes": classes}
        vars(self).update(attributes)

    def __len__(self):
        return 1


def build(path, **options):
    """A detector without numbers: shapes only."""
    config = load_config(ROOT / "configs" / path, options)
    init_default_scope(config.default_scope)
    with torch.device("meta"):
        return MODELS.build(config.model)


def message(function, *args):
    with pytest.raises(ConfigError) as error:
        function(*args)
    return str(error.value)
