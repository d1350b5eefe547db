"""Differences between the pretraining records of a run before and after it was resumed."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from itertools import chain
from typing import Any

from mmengine.logging import print_log

from drivemim.transfer.data_record import ARGUMENTS
from drivemim.transfer.frames_seen import same_images

# Keys that follow from which frames a data set has. Frames are compared by ``seen``, see
# ``_has_same_frames``.
_OF_FRAMES = frozenset({
    "index", "chosen", "cameras", "left_out_cameras", "seen", "frames", "scenes", "night_scenes",
    "rain_scenes", "described_scenes", "annotated_frames", "uncalibrated_frames", "stored_sizes",
    "missing_images", "objects", "tables", "source", "version", "generated", "unreadable",
    "unrecorded",
})  # fmt: skip


def describe_change(now: Mapping[str, Any], before: Mapping[str, Any]) -> list[str]:
    """Say what a resumed run reads that differs; an empty list if it is the same.

    Frames are compared by content: an index may move, and scenes have several names.

    Args:
        now: record of the run as it resumes.
        before: record of the checkpoint that it resumes from.
    """
    data_before, data_now = before["data"] or [], now["data"]
    if len(data_before) != len(data_now):
        changes = [f"{len(data_before)} data sets before, {len(data_now)} now"]
    else:
        changes = list(chain.from_iterable(map(_differences, data_before, data_now)))
    masks = [record["recipe"].get("masking") for record in (before, now)]
    if None not in masks and masks[0] != masks[1]:
        changes.append(f"masking={masks[0]} before, {masks[1]} now")
    elif now["recipe"]["reads"] != before["recipe"].get("reads"):
        changes.append("masks, teacher or target read other boxes, tracks or lidar")
    per_iteration = [
        (record.get("counts") or {}).get("clips_per_iteration") for record in (before, now)
    ]
    if None not in per_iteration and per_iteration[0] != per_iteration[1]:
        changes.append(f"{per_iteration[0]} clips per iteration before, {per_iteration[1]} now")
    return changes


def _differences(before: Mapping[str, Any], now: Mapping[str, Any]) -> Iterator[str]:
    """Yield the settings of a data set that differ, and whether its frames do."""
    for key in sorted(before.keys() & now.keys() - _OF_FRAMES):
        if before[key] != now[key]:
            yield f"{ARGUMENTS.get(key, key)}={before[key]} before, {now[key]} now"
    if _has_same_frames(before, now):
        return
    if before["index"] != now["index"]:
        yield f"frames of {before['index']} before, of {now['index']} now"
        return
    scenes = [data_set.get("chosen") for data_set in (before, now)]
    counts = [data_set.get("frames", "others") for data_set in (before, now)]
    if scenes[0] == scenes[1] and counts[0] == counts[1]:
        yield f"other images in {now['index']} than before"
        return
    of_scenes = ["" if scenes[0] == scenes[1] else f" of {each or 'all scenes'}" for each in scenes]
    yield (
        f"{counts[0]} frames{of_scenes[0]} in {now['index']} before, {counts[1]}{of_scenes[1]} now"
    )


def _has_same_frames(before: Mapping[str, Any], now: Mapping[str, Any]) -> bool:
    """Return whether two data sets have the same frames.

    If a record does not say which frames it has, their scenes or their number is compared.
    """
    if (same := same_images(before, now)) is not None:
        return same
    scenes = [(data_set.get("seen") or {}).get("scenes") for data_set in (before, now)]
    if None not in scenes:
        return bool(scenes[0] == scenes[1])
    return bool(before.get("frames") == now.get("frames"))


def warn_of_changes(checkpoint: str, changes: list[str], settings: list[str]) -> None:
    """Warn of what a resumed run reads that differs, and of other settings that differ."""
    lines = []
    if changes:
        lines.append(
            f"The run goes on with other data or settings: {'; '.join(changes)}. Clips are drawn "
            "as if nothing had changed; model cards name the data and masks of both"
        )
    if settings:
        lines.append(
            f"The run goes on with other settings: {'; '.join(settings)}. Model cards name both"
        )
    for line in lines:
        print_log(f"{checkpoint}: {line}", logger="current", level=logging.WARNING)
