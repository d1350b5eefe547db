"""Exports of backbones, and weights of any origin that a model starts from.

Importing this package makes MMEngine read checkpoints safely.
"""

from drivemim.compat import patch_checkpoint_loader
from drivemim.transfer.exporting import export_backbone, load_export
from drivemim.transfer.pretrained_backbone import PretrainedBackbone, load_backbone

__all__ = ["PretrainedBackbone", "export_backbone", "load_backbone", "load_export"]

patch_checkpoint_loader()
