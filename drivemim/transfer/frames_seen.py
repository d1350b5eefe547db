"""Compact records of the frames that a pretraining saw, and their comparison with any index.

A frame is recognised by the key of its image file (a hash, see ``frame_keys``), or by the token of
its scene and its camera. A record has the keys under ``contents`` and the tokens under ``scenes``.
"""

from __future__ import annotations

import base64
from collections.abc import Collection, Mapping, Sequence
from contextlib import suppress
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from drivemim.array_types import Bools, Ints
from drivemim.data.index.frame_index import FrameIndex
from drivemim.data.index.frame_keys import MAX_FILES, annotated_scenes, frame_keys, scene_tokens

_GROUPS = ("annotated", "other")


class KnownFrames:
    """Frames of an index that can be recognised in other indices.

    Args:
        index: index of the data set.
        rows: (F,) rows of ``index.frames``.
        max_files: if there are more frames than this, no file is read, and no frame counts as
            ``readable``. None reads any number of files.
    """

    def __init__(self, index: FrameIndex, rows: Ints, *, max_files: int | None = None) -> None:
        self.index, self.rows, self.max_files = index, rows, max_files

    def __len__(self) -> int:
        return len(self.rows)

    @cached_property
    def image_keys(self) -> NDArray[np.uint64]:
        """Key (F,) of each frame's image (``frame_keys``), 0 where it is not ``readable``."""
        return self._image_keys_and_readable[0]

    @cached_property
    def readable(self) -> Bools:
        """Whether the file (F,) of each frame can be read.

        A frame whose file cannot be read cannot be used, neither for training nor for evaluation.
        """
        return self._image_keys_and_readable[1]

    @cached_property
    def _image_keys_and_readable(self) -> tuple[NDArray[np.uint64], Bools]:
        if self.max_files is not None and len(self) > self.max_files:
            return np.zeros(len(self), np.uint64), np.zeros(len(self), np.bool_)
        try:
            return frame_keys(self.index, self.rows), np.ones(len(self), np.bool_)
        except OSError:
            pass
        keys_F, readable_F = np.zeros(len(self), np.uint64), np.zeros(len(self), np.bool_)
        for number in range(len(self)):
            with suppress(OSError):
                keys_F[number] = frame_keys(self.index, self.rows[number : number + 1])[0]
                readable_F[number] = True
        return keys_F, readable_F

    @cached_property
    def tokens(self) -> list[str] | None:
        """Token of each scene of the index; None if tokens do not identify scenes."""
        return scene_tokens(self.index)

    def of_scenes(self, tokens: Collection[str], cameras: Collection[str]) -> Bools:
        """Return bool (F,), which frames are of these scenes and of these cameras."""
        frames, index = self.index.frames, self.index
        in_scenes = np.isin(np.arange(len(index.scenes)), _positions(tokens, self.tokens or ()))
        in_cameras = np.isin(np.arange(len(index.cameras)), _positions(cameras, index.cameras))
        return np.asarray(in_scenes[frames.scene[self.rows]] & in_cameras[frames.camera[self.rows]])


def record_frames(index: FrameIndex, rows: Ints) -> dict[str, Any]:
    """Record frames for an export's metadata.

    Args:
        index: index of the data set.
        rows: (F,) rows of the frames that clips are drawn from.

    Returns:
        - ``annotated_frames``: number of frames in scenes with boxes.
        - ``seen``: ``contents``, keys of the frames' images in base64, and ``scenes``, tokens.
          Each has an entry for ``annotated`` frames and one for ``other`` frames. ``scenes`` is
          None if tokens do not identify scenes. ``contents`` is None if no file can be read, or if
          there are more than ``MAX_FILES`` and tokens identify the scenes.
        - ``missing_images``: number of frames whose files cannot be read, which are not in
          ``contents``; absent if it is 0.
    """
    frames = KnownFrames(index, rows)
    annotated_F = annotated_scenes(index)[index.frames.scene[rows]]
    tokens = frames.tokens
    groups = dict(zip(_GROUPS, (annotated_F, ~annotated_F), strict=True))
    contents, missing = None, 0
    if tokens is None or len(rows) <= MAX_FILES:
        missing = int((~frames.readable).sum())
        # Without frames the record is empty, not unknown.
        if missing < len(rows) or not len(rows):
            contents = {
                name: _encode(frames.image_keys[chosen_F & frames.readable])
                for name, chosen_F in groups.items()
            }
    return {
        **({"missing_images": missing} if missing else {}),
        "annotated_frames": int(annotated_F.sum()),
        "seen": {
            "contents": contents,
            "scenes": None
            if tokens is None
            else {
                name: [tokens[scene] for scene in np.unique(index.frames.scene[rows[chosen_F]])]
                for name, chosen_F in groups.items()
            },
        },
    }


class SeenFrames(NamedTuple):
    """Frames that a data set of a pretraining contained.

    Attributes:
        found_F: whether it contained each frame.
        annotated_F: whether it contained the frame in a scene with boxes.
        complete: whether the frames that were not found are known to be absent.
    """

    found_F: Bools
    annotated_F: Bools
    complete: bool


def frames_seen(data_set: Mapping[str, Any], frames: KnownFrames) -> SeenFrames:
    """Find which frames a data set of a pretraining contained.

    Args:
        data_set: entry of the export's ``data``.
        frames: frames to search.
    """
    # Older exports have keys under ``files`` or ``pictures``. They are ignored, because different
    # frames could have the same key.
    record = {"contents": None, "scenes": None, **(data_set.get("seen") or {})}
    groups = [np.zeros(len(frames), np.bool_) for _ in _GROUPS]
    complete = False
    if record["scenes"] is not None and frames.tokens is not None:
        # Another data set or version may contain the same scenes under other tokens, so a token
        # that was not found proves nothing there.
        info = frames.index.info
        complete = (data_set.get("source"), data_set.get("version")) == (info.source, info.version)
        for group_F, name in zip(groups, _GROUPS, strict=True):
            group_F |= frames.of_scenes(record["scenes"][name], data_set["cameras"])
    if record["contents"] is not None and (frames.readable.any() or not len(frames)):
        complete = True
        for group_F, name in zip(groups, _GROUPS, strict=True):
            group_F |= (
                np.isin(frames.image_keys, _decode(record["contents"][name])) & frames.readable
            )
    annotated_F, other_F = groups
    return SeenFrames(annotated_F | other_F, annotated_F, complete)


def same_images(then: Mapping[str, Any], now: Mapping[str, Any]) -> bool | None:
    """Return whether two data sets have the same images, as far as their files could be read.

    Args:
        then: entry of a checkpoint's ``data``.
        now: entry of the run that resumes from it.

    Returns:
        True if the images that only one of them records are not more than those that the other
        could not read; None if one of them does not record its images.
    """
    records = [(data_set.get("seen") or {}).get("contents") or {} for data_set in (then, now)]
    if not all(records):
        return None
    before, after = (np.concatenate([_decode(each[name]) for name in _GROUPS]) for each in records)
    only_before, only_after = np.setdiff1d(before, after), np.setdiff1d(after, before)
    unread_before, unread_after = (
        int(data_set.get("missing_images", 0)) for data_set in (then, now)
    )
    return len(only_before) <= unread_after and len(only_after) <= unread_before


def _positions(names: Collection[str], among: Sequence[str]) -> list[int]:
    """Return the positions in ``among`` of those names that it has."""
    wanted = set(names)
    return [position for position, name in enumerate(among) if name in wanted]


def _encode(keys: NDArray[np.uint64]) -> str:
    """Return sorted keys without duplicates as base64 text of little-endian numbers."""
    return base64.b64encode(np.unique(keys).astype("<u8").tobytes()).decode()


def _decode(text: str) -> NDArray[np.uint64]:
    return np.frombuffer(base64.b64decode(text), "<u8").astype(np.uint64)
