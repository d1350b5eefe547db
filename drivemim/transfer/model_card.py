"""Model card of an exported backbone: data, recipe, metrics and limits.

All content comes from the export's metadata or from results files. Facts that are missing are
shown as "not known". See "Model Cards for Model Reporting" (https://arxiv.org/abs/1810.03993).
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from drivemim.errors import ConfigError, DataError
from drivemim.evaluation.results_file import CURVES
from drivemim.transfer.card_limits import limits, records_of
from drivemim.transfer.data_record import NO_TABLES
from drivemim.transfer.mask_reads import has_boxes
from drivemim.transfer.weights_file import read_weights

TITLE = "# Model card of "
_MAX_NUMBERS = 60  # that a card shows of one results file
_UNKNOWN, _NOT_READ, _UNRECORDED = "not known", "not read", "not recorded"


def read_card_results(named: Sequence[str]) -> dict[str, tuple[Path, dict[str, Any]]]:
    """Read the results that a card shows.

    Args:
        named: one ``NAME=FILE.json`` per result.

    Returns:
        File and content by name, without curves.

    Raises:
        ConfigError: if an item of ``named`` has another form, or a name occurs twice.
        FileNotFoundError: if there is no such file.
        DataError: if a file is not a JSON object, or contains no number.
    """
    results: dict[str, tuple[Path, dict[str, Any]]] = {}
    for each in named:
        name, equals, file = each.partition("=")
        if not (name and equals and file) or name in results:
            raise ConfigError(f"--metrics {each} must be NAME=FILE.json, every name once")
        path = Path(file)
        if not path.is_file():
            raise FileNotFoundError(f"--metrics {each}: there is no file {file}")
        try:
            content = json.loads(path.read_text())
        except (json.JSONDecodeError, UnicodeDecodeError) as error:
            raise DataError(f"--metrics {each}: {file} is not JSON: {error}") from error
        if isinstance(content, dict):
            # A table of the points of a chart would say nothing.
            content.pop(CURVES, None)
        if not isinstance(content, dict) or not list(_numbers(content)):
            raise DataError(f"--metrics {each}: {file} contains no number")
        results[name] = (path, content)
    return results


def check_card_results(
    results: Mapping[str, tuple[Path, Mapping[str, Any]]], checkpoint: Path
) -> None:
    """Refuse results that name a file of other weights: neither the checkpoint nor an export of it.

    A file that does not exist any more is not compared.

    Raises:
        ConfigError: if results are of other weights; the message names both files.
    """
    for name, (path, content) in results.items():
        named = content.get("checkpoint")
        if not isinstance(named, str) or not Path(named).is_file():
            continue
        source: Any = named
        if Path(named).resolve() != checkpoint.resolve():
            _, metadata = read_weights(named, tensors=False)
            source = ((metadata or {}).get("source") or {}).get("checkpoint")
        if source is None or Path(source).resolve() != checkpoint.resolve():
            raise ConfigError(
                f"--metrics {name}={path}: these are results of {named}, not of {checkpoint}"
            )


def check_card_path(path: Path) -> None:
    """Refuse to replace a file that is not a model card.

    Raises:
        ConfigError: if the file exists and does not begin like a card.
    """
    if path.is_file() and not path.read_text(errors="replace").startswith(TITLE):
        raise ConfigError(
            f"{path} exists and is not a model card; choose another name for the export"
        )


def render_card(
    name: str,
    metadata: Mapping[str, Any],
    results: Mapping[str, tuple[Path, Mapping[str, Any]]] | None = None,
) -> str:
    """Write the card as Markdown.

    Args:
        name: name of the export, without its suffix.
        metadata: metadata of the export.
        results: from :func:`read_card_results`.
    """
    sections = [
        ("", _summary(metadata)),
        ("Data", "\n\n".join(_all_data(metadata)) or "The run's config has no data with an index."),
        ("Recipe", _recipe(metadata)),
        ("Metrics", _metrics(metadata, results or {})),
        ("Limits", "\n".join(f"- {line}" for line in limits(metadata))),
        ("Use", _use(name, metadata)),
    ]
    body = "\n\n".join((f"## {title}\n\n" if title else "") + text for title, text in sections)
    return f"{TITLE}{name}\n\n{body}\n"


def _all_data(metadata: Mapping[str, Any]) -> Iterator[str]:
    """Yield a table per data set; those of the pretrainings that it started from are last."""
    for record in records_of(metadata):
        earlier = "" if record is metadata else f"Data of the earlier {record['file']}:\n\n"
        for data_set in record["data"] or ():
            yield earlier + _data(data_set)


def _summary(metadata: Mapping[str, Any]) -> str:
    source, normalization = metadata["source"], metadata["normalization"]
    return _table(
        {
            "architecture": _config(metadata["architecture"]),
            "parameters": metadata["parameters"],
            "strides": metadata["strides"],
            "channels": metadata["channels"],
            "image size, height and width": metadata["input_size"],
            "mean": normalization["mean"],
            "std": normalization["std"],
            "colours": "RGB" if normalization["bgr_to_rgb"] else "BGR",
            "checkpoint": source["checkpoint"],
            "experiment": source["experiment"],
            "averaged weights": source["ema"],
            "DriveMIM": metadata["drivemim_version"],
        }
    )


def _data(data_set: Mapping[str, Any]) -> str:
    rows: dict[str, Any] = {"index": data_set["index"]}
    if "unreadable" in data_set:
        rows["counts"] = f"{_UNKNOWN}: {data_set['unreadable']}"
    else:
        sizes = [f"{height} x {width}" for height, width in data_set["stored_sizes"]]
        rows |= {
            "source": f"{data_set['source']} {data_set['version']}".strip(),
            "tables": "none" if data_set["tables"] == NO_TABLES else data_set["tables"],
            "frames to draw from": data_set["frames"],
            "scenes": data_set["scenes"],
            "scenes at night": data_set["night_scenes"]
            if data_set["described_scenes"]
            else _UNRECORDED,
            "scenes in rain": data_set["rain_scenes"]
            if data_set["described_scenes"]
            else _UNRECORDED,
            "frames of annotated scenes": data_set["annotated_frames"],
            **{f"annotated boxes: {name}": count for name, count in data_set["objects"].items()},
            "stored sizes": ", ".join(sizes[:3]) + (" and more" if len(sizes) > 3 else ""),
        }
    rows |= {
        "chosen scenes": "all" if data_set["chosen"] is None else data_set["chosen"],
        "cameras": "all" if data_set["cameras"] is None else data_set["cameras"],
        "boxes": data_set["boxes"] or "none",
        "time steps": data_set["steps"],
        "interval of the time steps": _interval(data_set["steps"], data_set["spacing"]),
        "one camera per clip": data_set["one_camera"],
        "lidar points per frame": data_set["lidar_points"],
        "augmentation": _augmentation(data_set["augment"]),
    }
    return _table(rows)


def _recipe(metadata: Mapping[str, Any]) -> str:
    recipe = metadata["recipe"]
    rows = {
        "masks": _all_masks(metadata),
        **{kind: _all_reads(kind, metadata) for kind in ("boxes", "tracks", "lidar")},
        "started from": _started_from(recipe),
        "mask schedule": _all_settings("mask_schedule", metadata, none="none"),
        "target": _all_settings("target", metadata),
        "auxiliary targets": _all_settings("auxiliary", metadata, none="none"),
        "weights of patches": _all_settings("patch_weights", metadata, none="equal"),
        "decoder": _all_settings("decoder", metadata),
        "teacher": _all_settings("teacher", metadata, none="none"),
        "iterations": recipe["iterations"],
        "clips per batch": _all_settings("batch_size", metadata),
        "processes": recipe["processes"],
        "clips seen": recipe["clips"],
        "frames per clip": recipe["frames_per_clip"],
        "frames seen, missing ones included": recipe["frames_seen"],
        "optimizer": _all_settings("optimizer", metadata),
        "optimizer wrapper (precision)": _all_settings("precision", metadata),
        "settings of the wrapper": _all_settings("optimizer_settings", metadata, none="none"),
        "schedule": _all_settings("schedule", metadata, none="constant"),
        "averaging of weights": _all_settings("averaged", metadata, none="none"),
        "seed": recipe["seed"],
    }
    return _table(rows)


def _started_from(recipe: Mapping[str, Any]) -> str:
    """Name the weights that a run started from, and what their own pretraining started from."""
    if recipe.get("started_from") is None:
        return "random initialisation"
    names = []
    for each in recipe.get("earlier") or ({"file": recipe["started_from"], "data": None},):
        if each["data"] is None:
            names.append(f"{each['file']}, whose data is unknown")
        else:
            names.append(f"{each['file']}, which started from {_started_from(each['recipe'])}")
    return "; ".join(names)


def _all_masks(metadata: Mapping[str, Any]) -> str:
    """Format the masks of a pretraining, and other masks of those that it started from.

    ``resumed`` is not searched: a run that is resumed with other masks is recorded as one that
    started from the earlier run.
    """
    own, *earlier = records_of(metadata)
    earlier_masks = [
        f"{_config(mask) if mask else _UNKNOWN} ({record['file']})"
        for record in earlier
        if (mask := record["recipe"].get("masking")) != own["recipe"]["masking"]
    ]
    return "; before: ".join([_config(own["recipe"]["masking"]), *earlier_masks])


def _all_settings(key: str, metadata: Mapping[str, Any], none: str = _UNKNOWN) -> str:
    """Format a setting, and its other values before the run was resumed or in earlier pretrainings.

    Args:
        key: key of the recipe.
        metadata: metadata of the export.
        none: word for an empty value.
    """
    own, *earlier = _recipes_of(metadata)
    texts = [_setting(own[key], none)] + [
        f"{_setting(recipe[key], none) if key in recipe else _UNKNOWN} ({recipe['file']})"
        for recipe in earlier
        if key not in recipe or recipe[key] != own[key]
    ]
    return "; before: ".join(texts)


def _recipes_of(metadata: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    """Yield the recipes of a pretraining, and of those that it started from.

    A resumed pretraining has a recipe for each time that it ran; weights of unknown data have none.
    """
    for record in records_of(metadata):
        if record["data"] is not None:
            yield {"file": record.get("file"), **record["recipe"]}
            yield from record["recipe"].get("resumed") or ()


def _setting(value: Any, none: str) -> str:
    if not value:
        return none
    return ", ".join(map(_config, value)) if isinstance(value, list) else _config(value)


def _all_reads(kind: str, metadata: Mapping[str, Any]) -> str:
    """Say what reads boxes, tracks or lidar in a pretraining, and in those that it started from."""
    own, *earlier = records_of(metadata)
    texts = []
    for record in earlier:
        if record["data"] is None:
            texts.append(f"{_UNKNOWN} ({record['file']})")
        elif (text := _read(kind, record["recipe"], record["data"])) != _NOT_READ:
            texts.append(f"{text} ({record['file']})")
    return "; before: ".join([_read(kind, own["recipe"], own["data"]), *texts])


def _read(kind: str, recipe: Mapping[str, Any], data: Sequence[Mapping[str, Any]]) -> str:
    """Say which classes of one pretraining read boxes, tracks or lidar; for boxes, their origin."""
    # Older exports record only whether masks read boxes.
    reads = recipe.get("reads") or {"boxes": ["its masks"] * bool(recipe.get("masks_use_boxes"))}
    readers = ", ".join(reads.get(kind, ()))
    if not readers:
        return _NOT_READ
    if kind != "boxes":
        return f"read by {readers}"
    origins = {each["boxes_from"]: each["boxes"] for each in data if has_boxes(each)}
    words = {
        "annotations": "annotated",
        "detector": f"of a detector ({origins.get('detector')}), which learned from labels",
        "images": f"found in the images without labels ({origins.get('images')})",
    }
    return f"{' and '.join(words[origin] for origin in origins)}, read by {readers}"


def _metrics(
    metadata: Mapping[str, Any], results: Mapping[str, tuple[Path, Mapping[str, Any]]]
) -> str:
    last = metadata["recipe"]["last_log"]
    sections = []
    if last is not None:
        rows = {f"training {key}": value for key, value in last["losses"].items()}
        sections.append(f"Last logged, at iteration {last['iteration']}:\n\n{_table(rows)}")
    else:
        sections.append("No log of the run was found, so its training loss is unknown.")
    if not results:
        sections.append("This card has no results of these weights.")
    for name, (path, content) in results.items():
        numbers = list(_numbers(content))
        more = len(numbers) - _MAX_NUMBERS
        rest = f"\n\nAnd {more} more in the file." if more > 0 else ""
        # Texts say what was measured, such as the checkpoint, index and splits of a probe.
        words = {key: value for key, value in content.items() if isinstance(value, str)}
        table = _table({**words, **dict(numbers[:_MAX_NUMBERS])})
        sections.append(f"### {name}\n\nFrom `{path}`:\n\n{table}{rest}")
    return "\n\n".join(sections)


def _use(name: str, metadata: Mapping[str, Any]) -> str:
    lines = [
        "Load them into a detector with a config:",
        f"```\ndrivemim transfer --config YOURS.py --backbone {name}.safetensors "
        "--out TRANSFER.py\n```",
        "Load them as a PyTorch module, which takes RGB images and normalises them:",
        "```python\nimport drivemim\n\n"
        f'backbone = drivemim.load_backbone("{name}.safetensors")\nmaps = backbone(images)\n```',
        "Load them into a detector in Python:",
        "```python\nfrom drivemim.transfer import load_export\n\n"
        f'print(load_export(detector, "{name}.safetensors"))\n```',
    ]
    if not str(metadata["architecture"]["type"]).startswith("drivemim."):
        lines += [
            "Load them with plain MMDetection; set the mean, std and colour order above in "
            "`data_preprocessor`:",
            f"```python\nbackbone = dict(init_cfg=dict(type='Pretrained', checkpoint='{name}.pth')"
            ")\n```",
        ]
    return "\n\n".join(lines)


def _interval(steps: int, seconds: float | None) -> str:
    """Describe the interval between the time steps of a clip."""
    if steps == 1:
        return "none, a single time step"
    return "one keyframe to the next" if seconds is None else f"{seconds:g} s"


def _augmentation(settings: Mapping[str, Any] | None) -> str:
    if settings is None:
        return "none"
    return _config({"type": "AugmentSettings", **settings})


def _table(rows: Mapping[str, Any]) -> str:
    lines = ["| | |", "|---|---|"]
    lines += [f"| {key} | {_cell(value)} |" for key, value in rows.items()]
    return "\n".join(lines)


def _cell(value: Any) -> str:
    if value is None:
        return _UNKNOWN
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.6g}" if math.isfinite(value) else str(value)
    if isinstance(value, (list, tuple)):
        return ", ".join(_cell(each) for each in value)
    return str(value).replace("|", "\\|").replace("\n", " ")


def _config(config: Any) -> str:
    """Format a config as one expression: ``ObjectMask(mask_ratio=0.75)``."""
    if isinstance(config, Mapping):
        inner = ", ".join(f"{key}={_config(each)}" for key, each in config.items() if key != "type")
        kind = str(config["type"]) if "type" in config else "dict"
        return f"{kind}({inner})"
    if isinstance(config, (list, tuple)):
        return "[" + ", ".join(_config(each) for each in config) + "]"
    return str(config)


def _numbers(content: Any, name: str = "") -> Iterator[tuple[str, float]]:
    """Yield every number in nested results with its dotted name."""
    if isinstance(content, Mapping):
        for key, value in content.items():
            yield from _numbers(value, f"{name}.{key}" if name else str(key))
    elif isinstance(content, list):
        for position, value in enumerate(content):
            yield from _numbers(value, f"{name}[{position}]")
    elif isinstance(content, (int, float)) and not isinstance(content, bool):
        yield name, content
