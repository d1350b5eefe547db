"""The function that builds an index from any kind of source."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Literal

from drivemim.data.index.builders.frames import build_frames_index
from drivemim.data.index.builders.nuimages import build_nuimages_index
from drivemim.data.index.builders.nuscenes import build_nuscenes_index
from drivemim.data.index.builders.rig_folders import build_rig_index
from drivemim.data.index.frame_index import FrameIndex
from drivemim.errors import ConfigError, did_you_mean

IndexKind = Literal["nuscenes", "nuimages", "frames", "rig"]
_TABLES: dict[str, Callable[..., Path]] = {
    "nuscenes": build_nuscenes_index,
    "nuimages": build_nuimages_index,
}
"""Builders of sources with a version and one root."""
_FOLDERS: dict[str, Callable[..., Path]] = {"frames": build_frames_index, "rig": build_rig_index}
"""Builders of sources without a version, which take several roots."""


def _options_of(kind: str) -> frozenset[str]:
    """Return the names of the arguments that a kind of source takes; none for an unknown kind."""
    builder = {**_TABLES, **_FOLDERS}.get(kind)
    names = set(inspect.signature(builder).parameters) if builder else set()
    return frozenset(names - {"roots"} | {"root", "version"} if names else ())


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
            images and videos, ``rig`` for folders of calibrated cameras with poses.
        root: folder of the data set; ``frames`` and ``rig`` take several.
        version: version folder of the tables, for example ``v1.0-trainval``.
        out: file to write; by default ``drivemim-VERSION.arrow``, ``drivemim-frames.arrow`` or
            ``drivemim-rig.arrow`` in the (first) root.
        options: further options of ``build_nuscenes_index`` (``missing_images``, ``rectified``,
            ``camera_rotations_as_written``), ``build_nuimages_index`` (``missing_images``,
            ``sweeps``, ``camera_rotations_as_written``), ``build_frames_index`` (``coco``,
            ``rate``, ``video_rate``) or ``build_rig_index`` (``rectified``,
            ``camera_rotations_as_written``).

    Returns:
        The index, opened.

    Raises:
        ConfigError: if the kind or an option is unknown, the version is missing, or the kind has no
            version or takes only one root.
        FileNotFoundError: if a folder, table or image does not exist.
        ValueError: if a file is broken or contradicts another.

    Example:
        >>> index = drivemim.build_index("nuscenes", "data/nuscenes", version="v1.0-mini")
    """
    known = _options_of(kind)
    for name in options if known else ():
        if name not in known:
            raise ConfigError(
                f"build_index: kind='{kind}' has no option {name!r}{did_you_mean(name, known)}"
            )
    roots = [root] if isinstance(root, (str, Path)) else list(root)
    if kind in _FOLDERS:
        if version is not None:
            what = "folders of frames" if kind == "frames" else "rigs"
            raise ConfigError(f"version={version!r}: {what} have no version")
        out = Path(out or Path(roots[0]) / f"drivemim-{kind}.arrow")
        return FrameIndex.open(_FOLDERS[kind](roots, out, **options))
    if kind not in _TABLES:
        kinds = (*_FOLDERS, *_TABLES)
        raise ConfigError(
            f"kind={kind!r} is not one of {', '.join(kinds)}{did_you_mean(kind, kinds)}"
        )
    if version is None:
        raise ConfigError(f"kind='{kind}' needs version, for example version='v1.0-mini'")
    if len(roots) != 1:
        raise ConfigError(f"kind='{kind}' takes one root, not {len(roots)}")
    out = Path(out or Path(roots[0]) / f"drivemim-{version}.arrow")
    return FrameIndex.open(_TABLES[kind](roots[0], version, out, **options))
