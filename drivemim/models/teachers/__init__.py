"""Masking teachers: before masking, they compute how much each patch is worth hiding."""

from drivemim.models.teachers.attention import TeacherAttention
from drivemim.models.teachers.loss_predictor import LossPredictor
from drivemim.models.teachers.masking_teacher import MaskingTeacher

__all__ = ["LossPredictor", "MaskingTeacher", "TeacherAttention"]
