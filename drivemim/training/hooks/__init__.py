"""Hooks of MMEngine's Runner, one per file."""

from drivemim.training.hooks.atomic_checkpoint import AtomicCheckpoint
from drivemim.training.hooks.average_losses import AverageLosses
from drivemim.training.hooks.check_agreement import CheckAgreement
from drivemim.training.hooks.draw_detections import DrawDetections
from drivemim.training.hooks.draw_reconstructions import DrawReconstructions
from drivemim.training.hooks.load_backbone import LoadBackbone
from drivemim.training.hooks.mask_schedule import MaskSchedule
from drivemim.training.hooks.probe_features import ProbeFeatures
from drivemim.training.hooks.record_pretraining import RecordPretraining
from drivemim.training.hooks.report_clips import ReportClips
from drivemim.training.hooks.reseed import ReseedEveryIteration
from drivemim.training.hooks.resume_averages import ResumeAverages
from drivemim.training.hooks.resume_epoch import ResumeEpoch
from drivemim.training.hooks.resume_schedule import ResumeSchedule
from drivemim.training.hooks.stop_on_non_finite_loss import StopOnNonFiniteLoss
from drivemim.training.hooks.strict_load import StrictLoad

__all__ = [
    "AtomicCheckpoint",
    "AverageLosses",
    "DrawDetections",
    "DrawReconstructions",
    "ProbeFeatures",
    "CheckAgreement",
    "LoadBackbone",
    "MaskSchedule",
    "RecordPretraining",
    "ReportClips",
    "ReseedEveryIteration",
    "ResumeAverages",
    "ResumeEpoch",
    "ResumeSchedule",
    "StopOnNonFiniteLoss",
    "StrictLoad",
]
