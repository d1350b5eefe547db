"""Training runs: hooks, optimizer, schedule, checkpoints.

Importing this package registers hooks, loggers and optimizer parts.
"""

from drivemim.training import hooks
from drivemim.training.autocast import AutocastOptimWrapper
from drivemim.training.compact_log import CompactLogProcessor
from drivemim.training.layer_decay import LayerDecay
from drivemim.training.loggers import MLflowLogger, WandbLogger

__all__ = [
    "AutocastOptimWrapper",
    "CompactLogProcessor",
    "LayerDecay",
    "MLflowLogger",
    "WandbLogger",
    "hooks",
]
