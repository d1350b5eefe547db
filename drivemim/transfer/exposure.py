"""Checks of whether a backbone's pretraining saw the frames that it is evaluated on.

Masks may read annotated boxes, and pretraining may see the images that results are measured on.
Neither is wrong, but a result must say so. Otherwise it claims too much: the backbone used labels
that are not counted, or the measurement is transductive. Every comparison of backbones therefore
uses this module first.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from drivemim.errors import ConfigError
from drivemim.transfer.frames_seen import KnownFrames, frames_seen
from drivemim.transfer.pretraining_record import checkpoint_record
from drivemim.transfer.weights_file import read_weights


@dataclass(frozen=True, kw_only=True)
class Exposure:
    """Numbers of frames in one set that a pretraining saw.

    Attributes:
        frames: number of frames in the set.
        images: number of frames whose images the pretraining is known to have seen; None if it is
            unknown whether it saw any.
        boxes: number of frames whose annotated boxes the pretraining is known to have read; None if
            it is unknown whether it read any.
        unrecorded: why a pretraining with DriveMIM does not record its frames, so that it may have
            seen more than ``images``; empty if each records them.
        boxes_unknown_by_initial_weights: whether ``boxes`` is None only because nothing is known of
            the initial weights: the recorded pretraining read no boxes.
    """

    frames: int
    images: int | None
    boxes: int | None
    unrecorded: str = field(default="", compare=False)
    boxes_unknown_by_initial_weights: bool = field(default=False, compare=False)


@dataclass(frozen=True, kw_only=True)
class PretrainingRecord:
    """Known facts about a backbone's pretraining.

    Attributes:
        data: from ``describe_data``; None if nothing is known.
        readers: classes that read boxes.
        file: file with this pretraining's weights, if another pretraining started from it.
        earlier: records of the weights that this pretraining started from.
        why_unknown: why something is unknown, as the end of a sentence; empty if all is known.
    """

    data: list[dict[str, Any]] | None
    readers: tuple[str, ...] = ()
    file: str = ""
    earlier: tuple[PretrainingRecord, ...] = ()
    why_unknown: str = ""

    @property
    def chain(self) -> list[PretrainingRecord]:
        """This record, and those of all weights that it started from."""
        return [self, *(each for record in self.earlier for each in record.chain)]

    @property
    def started_from(self) -> str | None:
        """Names of the weights files that it started from, and what these started from; or None."""
        return " and ".join(each.file + _origin(each) for each in self.earlier) or None

    @property
    def annotated(self) -> list[dict[str, Any]]:
        """Data whose annotated boxes were read, by it or by an earlier pretraining."""
        return [
            data_set
            for data_set in self._data_sets_with_readers()
            if data_set["boxes"] is not None
            and data_set.get("boxes_from", "annotations") == "annotations"
            and data_set.get("annotated_frames") != 0
        ]

    @property
    def all_readers(self) -> list[str]:
        """Classes that read boxes, in it or in an earlier pretraining."""
        return list(dict.fromkeys(name for each in self.chain for name in each.readers))

    @property
    def detectors(self) -> list[str]:
        """Box sources that were read and are a detector's results."""
        data_sets = self._data_sets_with_readers()
        found = [
            str(data_set["boxes"])
            for data_set in data_sets
            if data_set.get("boxes_from") == "detector"
        ]
        return list(dict.fromkeys(found))

    def exposure(self, frames: KnownFrames) -> Exposure:
        """Count the frames that this pretraining, or an earlier one, saw."""
        data_sets = [data_set for record in self.chain for data_set in record.data or ()]
        images, images_known = _seen(data_sets, frames, annotated=False)
        boxes, boxes_known = _seen(self.annotated, frames, annotated=True)
        complete = all(record.data for record in self.chain) and images_known
        boxes_known &= self.data is not None
        initial_weights_known = all(record.data is not None for record in self.chain[1:])
        return Exposure(
            frames=len(frames),
            images=images if images or complete else None,
            unrecorded="" if complete else self._unrecorded(),
            boxes=boxes if boxes_known and (boxes or initial_weights_known) else None,
            boxes_unknown_by_initial_weights=boxes_known
            and not boxes
            and not initial_weights_known,
        )

    def remarks(self) -> list[str]:
        """List remarks for every result: labels behind pseudo-labels, and what is unknown."""
        lines = [
            f"its pretraining read boxes of a detector ({name}); the labels that the detector "
            "learned from are used indirectly and not counted"
            for name in self.detectors
        ]
        for record in self.chain[1:]:
            if record.why_unknown or record.data is None:
                why = record.why_unknown or "its data is unknown"
                lines.append(f"its pretraining started from {record.file}; {why}")
        lines += [
            f"{data_set['missing_images']} of the {data_set['frames']} images of its pretraining's "
            f"{data_set['index']} could not be read when training began, and are not recorded"
            for record in self.chain
            for data_set in record.data or ()
            if data_set.get("missing_images")
        ]
        return [*lines, self.why_unknown] if self.why_unknown else lines

    def _unrecorded(self) -> str:
        """Return why a pretraining with DriveMIM has no record of its frames; empty if each has."""
        reasons = (each.why_unknown for each in self.chain if each.data is not None)
        return next(filter(None, reasons), "")

    def _data_sets_with_readers(self) -> list[dict[str, Any]]:
        return [data_set for each in self.chain if each.readers for data_set in each.data or ()]


def read_record(path: str | Path) -> PretrainingRecord:
    """Read the data record of an exported backbone or of a pretraining run's checkpoint.

    Raises:
        FileNotFoundError: if there is no such file.
        CheckpointError: if it is damaged.
    """
    content, metadata = read_weights(path, tensors=False)
    meta = content.get("meta") if isinstance(content, dict) else None
    if metadata is None and isinstance(meta, dict):
        metadata = checkpoint_record(meta, str(path))
    if metadata is None:
        reason = "it is not an export of DriveMIM, so the data of its pretraining is unknown"
        return PretrainingRecord(data=None, why_unknown=reason)
    return record_of(metadata)


def record_of(metadata: Mapping[str, Any]) -> PretrainingRecord:
    """Convert an export's metadata to a record."""
    data, recipe = metadata["data"], metadata["recipe"]
    if "reads" in recipe:
        readers = tuple(recipe["reads"]["boxes"])
    else:
        # Older exports record no more than this.
        readers = ("its masks",) if recipe.get("masks_use_boxes") else ()
    start = recipe.get("started_from")
    if "earlier" in recipe or start is None:
        earlier = tuple(record_of(each) for each in recipe.get("earlier", ()))
    else:
        # Older exports only name the weights that they started from.
        earlier = (PretrainingRecord(data=None, file=str(start)),)
    return PretrainingRecord(
        data=None if data is None else list(data),
        readers=readers,
        file=str(metadata.get("file", "")),
        earlier=earlier,
        why_unknown="" if data is None else _why_unknown(data),
    )


def _origin(record: PretrainingRecord) -> str:
    """Return the end of a sentence: what a pretraining started from; empty if it is unknown."""
    return f", which started from {record.started_from}" if record.earlier else ""


def check_images(what: str, where: str, exposure: Exposure, *, transductive: bool) -> None:
    """Refuse a backbone whose pretraining saw images that it is evaluated on, or may have.

    Weights of other projects have no record, and are not refused.

    Args:
        what: the backbone, as messages begin.
        where: the frames, as the command line names them.
        exposure: exposure to those frames.
        transductive: whether the user said that the measurement is transductive.

    Raises:
        ConfigError: if it saw any or does not record its frames, and the user did not say so.
    """
    if transductive:
        return
    if exposure.images is None and exposure.unrecorded:
        raise ConfigError(
            f"{what}: it is unknown whether its pretraining saw images of {where}: "
            f"{exposure.unrecorded}; to evaluate it nevertheless, give --transductive, which says "
            "so in the results"
        )
    if exposure.images:
        raise ConfigError(
            f"{what}: its pretraining saw {exposure.images} of the {exposure.frames} images of "
            f"{where}; pretrain without them, or give --transductive, which says so in the results"
        )


def check_boxes(
    what: str,
    record: PretrainingRecord,
    where: str,
    exposure: Exposure,
    *,
    max_read: int,
    fix: str,
) -> None:
    """Refuse a backbone whose pretraining read the annotated boxes of too many frames.

    Args:
        what: the backbone, as messages begin.
        record: record of its pretraining.
        where: the frames, possibly with the number that is allowed.
        exposure: exposure to those frames.
        max_read: largest number of them whose boxes may be read.
        fix: a remedy besides other masks.

    Raises:
        ConfigError: if it read more, or if boxes were read and the number is unknown.
    """
    if not record.annotated or exposure.boxes_unknown_by_initial_weights:
        return
    if exposure.boxes is not None and exposure.boxes <= max_read:
        return
    count = f"{exposure.boxes} of " if exposure.boxes is not None else "an unknown number of "
    raise ConfigError(
        f"{what}: its pretraining read the annotated boxes of {count}the {exposure.frames} frames "
        f"of {where} (read by {', '.join(record.all_readers)}); pretrain with masks that read no "
        f"boxes, or with boxes='MotionBoxes', {fix}or give --allow-boxes-read, which says so in "
        "the results"
    )


def unknown_frames(record: PretrainingRecord, where: str, exposure: Exposure) -> list[str]:
    """Return remarks: whether it is unknown if images were seen, unless ``remarks`` says so.

    Args:
        record: record of the pretraining.
        where: the frames, as the command line names them.
        exposure: exposure to those frames.
    """
    if exposure.images is not None:
        return []
    if exposure.unrecorded:
        return [f"possibly transductive, its pretraining may have seen images of {where}"]
    if any(each.why_unknown or each.data is None for each in record.chain):
        return []
    return [
        f"it is unknown whether its pretraining saw images of {where}: the two can be compared "
        "neither by files nor by tokens of scenes"
    ]


def _seen(
    data_sets: list[dict[str, Any]], frames: KnownFrames, *, annotated: bool
) -> tuple[int, bool]:
    """Count the frames that data sets are known to have contained.

    Args:
        data_sets: entries of ``data``.
        frames: the frames.
        annotated: count only frames that were in a scene with boxes.

    Returns:
        The number, and whether all other frames are known to be absent.
    """
    seen_F, known = np.zeros(len(frames), np.bool_), True
    for data_set in data_sets:
        seen = frames_seen(data_set, frames)
        seen_F |= seen.annotated_F if annotated else seen.found_F
        known &= seen.complete
    return int(seen_F.sum()), known


def _why_unknown(data: list[dict[str, Any]]) -> str:
    """Return why it is unknown which frames a pretraining saw; empty if they are known."""
    if not data:
        return "the config of its pretraining names no index, so its data is unknown"
    for data_set in data:
        if "unreadable" in data_set:
            return f"it does not record which frames its pretraining saw: {data_set['unreadable']}"
        if "unrecorded" in data_set:
            return f"it does not record which frames its pretraining saw: {data_set['unrecorded']}"
        if "seen" not in data_set:
            return (
                "it is an older export, which does not record which frames its pretraining saw; "
                "export it again"
            )
        if data_set["seen"].get("contents") is None and data_set["seen"].get("scenes") is None:
            gone = data_set.get("missing_images")
            return "it does not record which frames its pretraining saw: " + (
                f"all {gone} images were missing" if gone else "an older version wrote it"
            )
    return ""
