"""Training, checkpoints and transfer.

Importing this package registers hooks and optimizer parts, and makes MMEngine read checkpoints
safely.
"""

from drivemim.compat import read_checkpoints_our_way
from drivemim.engine import hooks
from drivemim.engine.autocast import AutocastOptimWrapper
from drivemim.engine.brief_log import BriefLogProcessor
from drivemim.engine.layer_decay import LayerDecay
from drivemim.engine.transfer import export_backbone, load_export

__all__ = [
    "AutocastOptimWrapper",
    "BriefLogProcessor",
    "LayerDecay",
    "export_backbone",
    "hooks",
    "load_export",
]

read_checkpoints_our_way()
