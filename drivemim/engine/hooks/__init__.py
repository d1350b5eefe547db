"""Hooks of MMEngine's Runner, one per file."""

from drivemim.engine.hooks.atomic_checkpoint import AtomicCheckpoint
from drivemim.engine.hooks.average_losses import AverageLosses
from drivemim.engine.hooks.check_agreement import CheckAgreement
from drivemim.engine.hooks.draw_detections import DrawDetections
from drivemim.engine.hooks.load_backbone import LoadBackbone
from drivemim.engine.hooks.mask_schedule import MaskSchedule
from drivemim.engine.hooks.record_pretraining import RecordPretraining
from drivemim.engine.hooks.report_clips import ReportClips
from drivemim.engine.hooks.reseed import ReseedEveryIteration
from drivemim.engine.hooks.resume_averages import ResumeAverages
from drivemim.engine.hooks.resume_schedule import ResumeSchedule
from drivemim.engine.hooks.stop_on_non_finite_loss import StopOnNonFiniteLoss
from drivemim.engine.hooks.strict_load import StrictLoad

__all__ = [
    "AtomicCheckpoint",
    "AverageLosses",
    "DrawDetections",
    "CheckAgreement",
    "LoadBackbone",
    "MaskSchedule",
    "RecordPretraining",
    "ReportClips",
    "ReseedEveryIteration",
    "ResumeAverages",
    "ResumeSchedule",
    "StopOnNonFiniteLoss",
    "StrictLoad",
]
