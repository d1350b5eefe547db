"""The public functions of DriveMIM; ``import drivemim`` offers each of them.

Each has a command that does the same: ``drivemim index``, ``drivemim train``, ``drivemim export``.
"""

from __future__ import annotations

from pathlib import Path

from drivemim.data.index import index_building
from drivemim.data.index.frame_index import FrameIndex
from drivemim.option_words import speaks_python
from drivemim.training import predicting, pretraining, run
from drivemim.training.predicting import PredictionRun
from drivemim.training.pretraining import PretrainingRun
from drivemim.transfer import exporting, pretrained_backbone

__all__ = [
    "PredictionRun",
    "PretrainingRun",
    "build_index",
    "evaluate",
    "export_backbone",
    "load_backbone",
    "open_index",
    "predict",
    "pretrain",
    "train",
]

build_index = speaks_python(index_building.build_index)
evaluate = speaks_python(run.evaluate)
export_backbone = speaks_python(exporting.export_backbone)
load_backbone = speaks_python(pretrained_backbone.load_backbone)
predict = speaks_python(predicting.predict)
pretrain = speaks_python(pretraining.pretrain)
train = speaks_python(run.train)


@speaks_python
def open_index(path: str | Path) -> FrameIndex:
    """Open an index; this takes milliseconds, whatever its size.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if the file is not an index, or its format is that of another version.

    Example:
        >>> index = drivemim.open_index("data/nuscenes/drivemim-v1.0-mini.arrow")
    """
    return FrameIndex.open(path)
