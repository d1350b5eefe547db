"""Targets: what the decoder must predict at the hidden cells."""

from drivemim.models.targets.pixels import NormalizedPixels

__all__ = ["NormalizedPixels"]
