"""Limits of a backbone's use that follow from the data of its pretraining."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from drivemim.transfer.data_record import NO_TABLES

_DataSet = Mapping[str, Any]
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
    data_sets = [data_set for record in records for data_set in record["data"] or ()]
    read = [data_set for data_set in data_sets if "unreadable" not in data_set]
    unknown = [record["file"] for record in records[1:] if record["data"] is None]
    lines = []
    if len(read) < len(data_sets) or not metadata["data"]:
        lines.append("Some of its data could not be read when it was exported.")
    lines += [f"The data of {file}, whose weights it started from, is unknown." for file in unknown]
    for index, same in _by_index(read).items():
        for reason in dict.fromkeys(
            data_set["unrecorded"] for data_set in same if "unrecorded" in data_set
        ):
            lines.append(f"{index}: the frames that were seen are unknown; {reason}.")
        if missing := max(data_set.get("missing_images", 0) for data_set in same):
            lines.append(f"{index}: {missing} images could not be read, and are not recorded.")
        lines += [f"{index}: {line}" for line in _limits_of_index(same)]
    sizes = dict.fromkeys(
        tuple(data_set["image_size"]) for data_set in data_sets if data_set.get("image_size")
    )
    named = " and ".join(f"{h} x {w}" for h, w in sizes or [metadata["input_size"]])
    others = "." if unknown else "; other sizes were not seen."
    lines.append(f"Pretrained on images of {named} pixels{others}")
    lines.append(
        "Its behaviour outside of its training data is unknown. Evaluate a detector on data from "
        "the place and the cameras where it will be used."
    )
    lines.append("The data has licences of its own. Read them before you use or share the weights.")
    return lines


def _by_index(data_sets: Sequence[_DataSet]) -> dict[str, list[_DataSet]]:
    """Group data sets by their index.

    Returns:
        Data sets by the file name of their index, or by its path if two indices have one name. A
        copied or moved index is the same one, with several names.
    """
    groups: dict[Any, list[_DataSet]] = {}
    for data_set in data_sets:
        groups.setdefault(_index_of(data_set), []).append(data_set)
    files = [_files(same, path=False) for same in groups.values()]
    return {
        name if files.count(name) == 1 else _files(same, path=True): same
        for name, same in zip(files, groups.values(), strict=True)
    }


def _index_of(data_set: _DataSet) -> Any:
    """Return a key that is the same for all data sets of one index.

    It is made of the tables. An index of folders of images has none, so its path is the key.
    """
    if data_set.get("tables") in (None, NO_TABLES):
        return str(data_set["index"])
    cameras = tuple(sorted([*data_set["cameras"], *data_set["left_out_cameras"]]))
    return (data_set["source"], data_set["version"], data_set["tables"], cameras)


def _files(data_sets: Sequence[_DataSet], *, path: bool) -> str:
    """Return the file names, or the paths, of one index."""
    paths = (str(data_set["index"]) for data_set in data_sets)
    return " and ".join(dict.fromkeys(each if path else Path(each).name for each in paths))


def _limits_of_index(data_sets: Sequence[_DataSet]) -> Iterator[str]:
    """Yield the limits of one index: what none of the data sets from it has, or what all have."""
    if all(data_set["generated"] for data_set in data_sets):
        yield "all images are generated; none is real."
    seen = {camera for data_set in data_sets for camera in data_set["cameras"]}
    if left_out := [each for each in data_sets[0]["left_out_cameras"] if each not in seen]:
        yield f"cameras not seen: {', '.join(left_out)}."
    # The camera of a folder of images has no name of its own.
    if len(seen) == 1 and data_sets[0]["source"] != "frames":
        yield f"one camera only, {next(iter(seen))}."
    if not any(data_set["described_scenes"] for data_set in data_sets):
        yield "time of day and weather are not recorded."
    else:
        for word in ("night", "rain"):
            if not any(data_set[f"{word}_scenes"] for data_set in data_sets):
                yield f"no scene's description mentions {word}."
        if all(data_set["night_scenes"] == data_set["scenes"] for data_set in data_sets):
            yield "every scene is at night."
    if not any(sum(data_set["objects"].values()) for data_set in data_sets):
        yield "no annotations, so it is unknown which objects occur."
    else:
        names = dict.fromkeys(name for data_set in data_sets for name in data_set["objects"])
        for name in [each for each in names if each != "other"]:
            if not any(data_set["objects"].get(name) for data_set in data_sets):
                yield f"no {name} is annotated."
    uncalibrated = max(data_sets, key=lambda data_set: int(data_set["uncalibrated_frames"]))
    if uncalibrated["uncalibrated_frames"]:
        yield (
            f"calibration is assumed, not measured, in {uncalibrated['uncalibrated_frames']} of "
            f"{uncalibrated['frames']} frames."
        )
