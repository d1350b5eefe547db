"""Messages of other packages that only their developers can act on.

They go to the log file of a run and not to the console. DriveMIM's own messages are not affected.
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
    """Return whether users cannot act on a logged line."""
    return _LINES.match(text) is not None


def is_deprecation(message: Warning | str, category: type[Warning], filename: str) -> bool:
    """Return whether another package warns about its own code."""
    parts = filename.replace("\\", "/").split("/")
    told = issubclass(category, _DEPRECATIONS) or str(message).startswith("DeprecationWarning")
    return told and any(package in parts for package in _PACKAGES)


def mute_prints() -> None:
    """Leave out such lines where MMEngine prints them because there is no log yet."""

    def write(text: Any) -> None:
        if not is_for_developers(str(text)):
            print(text)

    mmengine.logging.logger.print = write
    # MMDetection warns of this when it is imported; only its CocoFasterMetric needs the package.
    warnings.filterwarnings(
        "ignore", "faster_coco_eval is not installed, metrics will not be computed", UserWarning
    )
