"""DriveMIM pretrains image backbones on driving video for MMDetection detectors.

>>> import drivemim
>>> index = drivemim.build_index("nuscenes", "data/nuscenes", version="v1.0-trainval")
>>> run = drivemim.pretrain("vit_base_nuscenes", index=index, work_dir="work_dirs/pretrain")
>>> drivemim.export_backbone(run.checkpoint, "vit_base.safetensors")
>>> backbone = drivemim.load_backbone("vit_base.safetensors")
>>> features = backbone(images)

Names are imported when they are first used, so ``import drivemim`` is cheap and does not import
MMDetection.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from drivemim.api import (
        PredictionRun,
        PretrainingRun,
        build_index,
        evaluate,
        export_backbone,
        load_backbone,
        open_index,
        predict,
        pretrain,
        train,
    )
    from drivemim.clips import Clips
    from drivemim.data.index.builders.index_builder import IndexBuilder
    from drivemim.data.index.builders.recorded_scene import RecordedScene
    from drivemim.data.index.frame_index import FrameIndex

__version__ = "0.1.0"

__all__ = [
    "Clips",
    "FrameIndex",
    "IndexBuilder",
    "PredictionRun",
    "PretrainingRun",
    "RecordedScene",
    "__version__",
    "build_index",
    "evaluate",
    "export_backbone",
    "load_backbone",
    "open_index",
    "predict",
    "pretrain",
    "train",
]

# Modules of the public names that ``drivemim.api`` does not have.
_MODULES = {
    "Clips": "drivemim.clips",
    "FrameIndex": "drivemim.data.index.frame_index",
    "IndexBuilder": "drivemim.data.index.builders.index_builder",
    "RecordedScene": "drivemim.data.index.builders.recorded_scene",
}
_SUBPACKAGES = (
    "config", "data", "evaluation", "geometry", "masking", "models", "training", "transfer",
    "visualization",
)  # fmt: skip


def __getattr__(name: str) -> Any:
    """Import a public name or a subpackage when it is first used."""
    if name in _SUBPACKAGES:
        return import_module(f"drivemim.{name}")
    if name in __all__:
        value = getattr(import_module(_MODULES.get(name, "drivemim.api")), name)
        globals()[name] = value
        return value
    raise AttributeError(f"module 'drivemim' has no attribute '{name}'")


def __dir__() -> list[str]:
    """List the public names and subpackages, imported or not."""
    return sorted({*globals(), *__all__, *_SUBPACKAGES})
