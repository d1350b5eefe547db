"""Backbones that can encode only the visible part of an image."""

from drivemim.models.encoders.masked_encoder import MaskedEncoder
from drivemim.models.encoders.resnet import MaskedResNet
from drivemim.models.encoders.vit import ViT

__all__ = ["MaskedEncoder", "MaskedResNet", "ViT"]
