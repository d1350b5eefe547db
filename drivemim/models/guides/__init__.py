"""Guides, which compute before masking how much each patch is worth hiding."""

from drivemim.models.guides.attention import TeacherAttention
from drivemim.models.guides.base import Guide
from drivemim.models.guides.loss_predictor import LossPredictor

__all__ = ["Guide", "LossPredictor", "TeacherAttention"]
