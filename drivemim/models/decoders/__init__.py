"""Decoders, which turn visible features into predictions; discarded after pretraining."""

from drivemim.models.decoders.clip_decoder import ClipDecoder
from drivemim.models.decoders.pyramid_decoder import PyramidDecoder

__all__ = ["ClipDecoder", "PyramidDecoder"]
