"""Decoders: what turns visible features into predictions, thrown away after pretraining."""

from drivemim.models.decoders.clip_decoder import ClipDecoder

__all__ = ["ClipDecoder"]
