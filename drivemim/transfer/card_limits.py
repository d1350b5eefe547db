"""Limits of a backbone's use that follow from the data of its pretraining."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from drivemim.transfer.data_record import NO_TABLES

_Part = Mapping[str, Any]
"""Description of a data set, from ``describe_data``."""


def records_of(metadata: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    """Yield the record of a pretraining, and those of all weights that it started from.

    Args:
        metadata: metadata of an export, or an earlier record in it, with ``data`` and ``recipe``.
    """
    yield metadata
    for each in metadata["recipe"].get("earlier") or ():
        yield from records_of(each)


def limits(metadata: Mapping[str, Any]) -> list[str]:
    """List the limits of a backbone's use that follow from all data that its weights saw."""
    records = list(records_of(metadata))
    parts = [part for record in records for part in record["data"] or ()]
    read = [part for part in parts if "unreadable" not in part]
    unknown = [record["file"] for record in records[1:] if record["data"] is None]
    lines = []
    if len(read) < len(parts) or not metadata["data"]:
        lines.append("Some of its data could not be read when it was exported.")
    lines += [f"The data of {file}, whose weights it started from, is unknown." for file in unknown]
    for index, same in _by_index(read).items():
        for reason in dict.fromkeys(part["unrecorded"] for part in same if "unrecorded" in part):
            lines.append(f"{index}: the frames that were seen are unknown; {reason}.")
        if missing := max(part.get("missing_images", 0) for part in same):
            lines.append(f"{index}: {missing} images could not be read, and are not recorded.")
        lines += [f"{index}: {line}" for line in _limits_of_index(same)]
    sizes = dict.fromkeys(tuple(part["image_size"]) for part in parts if part.get("image_size"))
    named = " and ".join(f"{h} x {w}" for h, w in sizes or [metadata["input_size"]])
    others = "." if unknown else "; other sizes were not seen."
    lines.append(f"Pretrained on images of {named} pixels{others}")
    lines.append(
        "Its behaviour outside of its training data is unknown. Evaluate a detector on data from "
        "the place and the cameras where it will be used."
    )
    lines.append("The data has licences of its own. Read them before you use or share the weights.")
    return lines


def _by_index(parts: Sequence[_Part]) -> dict[str, list[_Part]]:
    """Group parts by their index, which is named by its path only if its file name is ambiguous.

    An index that was copied or moved is the same one. Indices of folders without files beside the
    images can be told apart by their paths only.
    """
    groups: dict[Any, list[_Part]] = {}
    for part in parts:
        groups.setdefault(_index_of(part), []).append(part)
    files = [_files(same, path=False) for same in groups.values()]
    return {
        name if files.count(name) == 1 else _files(same, path=True): same
        for name, same in zip(files, groups.values(), strict=True)
    }


def _index_of(part: _Part) -> Any:
    """Return what tells the index of a part from others."""
    if part.get("tables") in (None, NO_TABLES):
        return str(part["index"])
    cameras = tuple(sorted([*part["cameras"], *part["left_out_cameras"]]))
    return (part["source"], part["version"], part["tables"], cameras)


def _files(parts: Sequence[_Part], *, path: bool) -> str:
    """Return the file names, or the paths, of one index."""
    paths = (str(part["index"]) for part in parts)
    return " and ".join(dict.fromkeys(each if path else Path(each).name for each in paths))


def _limits_of_index(parts: Sequence[_Part]) -> Iterator[str]:
    """Yield what no part of one index has."""
    if all(part["generated"] for part in parts):
        yield "all images are generated; none is real."
    seen = {camera for part in parts for camera in part["cameras"]}
    if left_out := [each for each in parts[0]["left_out_cameras"] if each not in seen]:
        yield f"cameras not seen: {', '.join(left_out)}."
    if len(seen) == 1 and parts[0]["source"] != "frames":  # in folders, cameras have no names
        yield f"one camera only, {next(iter(seen))}."
    if not any(part["described_scenes"] for part in parts):
        yield "time of day and weather are not recorded."
    else:
        for word in ("night", "rain"):
            if not any(part[f"{word}_scenes"] for part in parts):
                yield f"no scene's description mentions {word}."
        if all(part["night_scenes"] == part["scenes"] for part in parts):
            yield "every scene is at night."
    if not any(sum(part["objects"].values()) for part in parts):
        yield "no annotations, so it is unknown which objects occur."
    else:
        names = dict.fromkeys(name for part in parts for name in part["objects"])
        for name in [each for each in names if each != "other"]:
            if not any(part["objects"].get(name) for part in parts):
                yield f"no {name} is annotated."
    uncalibrated = max(parts, key=lambda part: int(part["uncalibrated_frames"]))
    if uncalibrated["uncalibrated_frames"]:
        yield (
            f"calibration is assumed, not measured, in {uncalibrated['uncalibrated_frames']} of "
            f"{uncalibrated['frames']} frames."
        )
