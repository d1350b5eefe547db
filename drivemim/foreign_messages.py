"""Recognition of messages of other packages on which only their developers can act.

A run writes such messages to its log file and not to the console.
"""

from __future__ import annotations

import re
import warnings
from typing import Any

import mmengine.logging.logger

_PACKAGES = ("mmengine", "mmcv", "mmdet", "torch")
_LINES = re.compile(
    r'"\w+" (?:will be deprecated in future|is the alias of)'
    r"|Distributed training is not used, all SyncBatchNorm"
    r"|Could not import OneDL\."
    r"|Loads checkpoint by \w+ backend from path"
)
_DEPRECATIONS = (DeprecationWarning, PendingDeprecationWarning, FutureWarning)


def is_for_developers(text: str) -> bool:
    """Return whether a logged line is one of those on which users cannot act."""
    return _LINES.match(text) is not None


def is_deprecation(message: Warning | str, category: type[Warning], filename: str) -> bool:
    """Return whether a warning is about deprecated code inside another package.

    Args:
        message: the warning.
        category: its class.
        filename: the source file that the warning blames.
    """
    folders = filename.replace("\\", "/").split("/")
    deprecates = issubclass(category, _DEPRECATIONS)
    deprecates |= str(message).startswith("DeprecationWarning")
    return deprecates and any(package in folders for package in _PACKAGES)


def mute_prints() -> None:
    """Drop the lines for developers that MMEngine prints because a run has no log yet."""

    def write(text: Any) -> None:
        if not is_for_developers(str(text)):
            print(text)

    mmengine.logging.logger.print = write
    # MMDetection warns when it is imported; only its CocoFasterMetric needs this package.
    warnings.filterwarnings(
        "ignore", "faster_coco_eval is not installed, metrics will not be computed", UserWarning
    )
