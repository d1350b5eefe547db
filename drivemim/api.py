"""The public functions of DriveMIM; ``import drivemim`` offers each of them.

The command line offers the same: ``drivemim index``, ``drivemim train``, ``drivemim export``, ...
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from mmengine.config import Config

from drivemim.config.loading import is_pretrainer, load_config, walk
from drivemim.data.index.builders.frames import build_frames_index
from drivemim.data.index.builders.nuimages import build_nuimages_index
from drivemim.data.index.builders.nuscenes import build_nuscenes_index
from drivemim.data.index.frame_index import FrameIndex
from drivemim.errors import CheckpointError, ConfigError, did_you_mean
from drivemim.training.checkpoints import newest_checkpoint
from drivemim.training.run import NEWEST, evaluate, train
from drivemim.transfer.exporting import export_backbone
from drivemim.transfer.pretrained_backbone import load_backbone

__all__ = [
    "PretrainingRun",
    "build_index",
    "evaluate",
    "export_backbone",
    "load_backbone",
    "open_index",
    "pretrain",
    "train",
]

IndexKind = Literal["nuscenes", "nuimages", "frames"]
_TABLES: dict[str, Callable[..., Path]] = {
    "nuscenes": build_nuscenes_index,
    "nuimages": build_nuimages_index,
}


@dataclass(frozen=True)
class PretrainingRun:
    """A finished pretraining run.

    Attributes:
        work_dir: folder of logs and checkpoints.
        checkpoint: the last checkpoint.
        iteration: number of iterations that were trained.
    """

    work_dir: Path
    checkpoint: Path
    iteration: int


def build_index(
    kind: IndexKind,
    root: str | Path | Sequence[str | Path],
    *,
    version: str | None = None,
    out: str | Path | None = None,
    **options: Any,
) -> FrameIndex:
    """Index a data set: one row per frame and per box, in one memory-mapped file.

    Args:
        kind: ``nuscenes`` or ``nuimages`` for tables of these formats, ``frames`` for folders of
            images and videos.
        root: folder of the data set; ``frames`` takes several.
        version: version folder of the tables, for example ``v1.0-trainval``.
        out: file to write; by default ``drivemim-VERSION.arrow`` or ``drivemim-frames.arrow`` in
            the (first) root.
        options: further options of ``build_nuscenes_index`` (``missing_images``, ``rectified``,
            ``camera_rotations_as_written``), ``build_nuimages_index`` (``missing_images``,
            ``sweeps``, ``camera_rotations_as_written``) or ``build_frames_index`` (``coco``,
            ``rate``, ``video_rate``).

    Returns:
        The index, opened.

    Raises:
        ConfigError: for an unknown kind, or a version that is missing or has no meaning.
        FileNotFoundError: if a folder, table or image does not exist.
        ValueError: if a file is broken or contradicts another.

    Example:
        >>> index = drivemim.build_index("nuscenes", "data/nuscenes", version="v1.0-mini")
    """
    several = [root] if isinstance(root, (str, Path)) else list(root)
    if kind == "frames":
        if version is not None:
            raise ConfigError(f"version={version!r}: folders of frames have no version")
        out = Path(out or Path(several[0]) / "drivemim-frames.arrow")
        return FrameIndex.open(build_frames_index(several, out, **options))
    if kind not in _TABLES:
        kinds = ("frames", *_TABLES)
        raise ConfigError(
            f"kind={kind!r} is not one of {', '.join(kinds)}{did_you_mean(kind, kinds)}"
        )
    if version is None:
        raise ConfigError(f"kind='{kind}' needs version, for example version='v1.0-mini'")
    if len(several) != 1:
        raise ConfigError(f"kind='{kind}' takes one root, not {len(several)}")
    out = Path(out or Path(several[0]) / f"drivemim-{version}.arrow")
    return FrameIndex.open(_TABLES[kind](several[0], version, out, **options))


def open_index(path: str | Path) -> FrameIndex:
    """Open an index; this takes milliseconds, whatever its size.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if it is no index, or of another version.

    Example:
        >>> index = drivemim.open_index("data/nuscenes/drivemim-v1.0-mini.arrow")
    """
    return FrameIndex.open(path)


def pretrain(
    config: str | Path,
    *,
    index: FrameIndex | str | Path | None = None,
    work_dir: str | Path | None = None,
    resume: bool = False,
    amp: bool = False,
    seed: int | None = None,
    options: Mapping[str, Any] | None = None,
) -> PretrainingRun:
    """Pretrain a backbone on unlabelled images.

    Several GPUs need one process each: ``torchrun --nproc_per_node 8 -m drivemim train CONFIG
    --launcher pytorch``.

    Args:
        config: name of a shipped config, for example ``vit_base_nuscenes``, or path of a config.
        index: replaces the index of the config's data set.
        work_dir: folder of logs and checkpoints; by default ``work_dirs/NAME_OF_CONFIG``.
        resume: go on from the newest complete checkpoint in ``work_dir``, if there is one.
        amp: use mixed precision, bfloat16 if the device has it.
        seed: seed of the run.
        options: other keys of the config to replace, dotted, like ``--cfg-options``.

    Returns:
        The run, with the path of its last checkpoint.

    Raises:
        ConfigError: if the config is not of a pretrainer, is invalid or contradicts itself.
        CheckpointError: if a checkpoint cannot be read or written, or does not fit.
        DataError: if the data does not have what the config asks for.
        NonFiniteLossError: if the loss is not finite.

    Example:
        >>> run = drivemim.pretrain("vit_base_nuscenes", index=index, work_dir="work_dirs/pretrain")
        >>> run.checkpoint
        PosixPath('work_dirs/pretrain/iter_80000.pth')
    """
    replaced = dict(options or {})
    cfg = load_config(config, replaced)
    if not is_pretrainer(cfg.get("model") or {}):
        raise ConfigError(f"{config} is not a pretraining config; use drivemim.train for detectors")
    if index is not None:
        path = index.path if isinstance(index, FrameIndex) else Path(index)
        replaced[_index_key(cfg, config)] = str(path)
    runner = train(
        config,
        work_dir=work_dir,
        resume=NEWEST if resume else None,
        amp=amp,
        seed=seed,
        options=replaced,
    )
    folder = Path(runner.work_dir)
    checkpoint = newest_checkpoint(folder)
    if checkpoint is None:
        raise CheckpointError(
            f"{folder} has no checkpoint after training; default_hooks.checkpoint wrote none"
        )
    return PretrainingRun(folder, checkpoint, int(runner.iter))


def _index_key(cfg: Config, config: str | Path) -> str:
    """Return the dotted key of the training data's index."""
    dataloader = (cfg.get("train_dataloader") or {}).get("dataset") or {}
    keys = [
        key for key, value in walk(dataloader, "train_dataloader.dataset") if key.endswith(".index")
    ]
    if len(keys) != 1:
        raise ConfigError(
            f"index=...: the training data of {config} has {len(keys) or 'no'} indices"
            + (f" ({', '.join(keys)})" if keys else "")
            + "; set them in options"
        )
    return keys[0]
