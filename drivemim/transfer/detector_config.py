"""Write a config of a few lines that starts any MMDetection detector from an exported backbone.

The new config inherits the user's, and ``config_overrides`` lists what it sets. Before the config
is written, its model is built and the features are compared with the pretrainer's.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from mmengine.config import Config
from torch import Tensor, nn

from drivemim.checkpoint_kinds import describe_mismatch
from drivemim.config.building import build_model, suppress_logs
from drivemim.config.loading import reading_errors
from drivemim.config.nested import short_type
from drivemim.config.shipped import find_config
from drivemim.errors import CheckpointError, ConfigError
from drivemim.files import ensure_writable, write_bytes
from drivemim.transfer.detector_settings import (
    ConfigOverride,
    check_input,
    config_overrides,
    format_overrides,
)
from drivemim.transfer.exporting import load_export_content, read_export
from drivemim.transfer.name_matching import describe_differences

_OWN = "drivemim."
"""Beginning of the ``type`` of a backbone that only DriveMIM has."""
_STARTED = "started from the pretrained backbone"
"""Text in the first line of every written config, so that no other config is replaced."""
_MASKED_RESNETS = ("ResNet", "ResNetV1d", "ResNeXt")
"""Backbones that ``MaskedResNet`` can pretrain."""


@dataclass(frozen=True)
class StageMatch:
    """One part of a backbone, and how much of it an export fills.

    Attributes:
        name: prefix of its tensors' names.
        tensors: number of tensors in the config's backbone.
        parameters: number of values in them.
        matched: number of tensors that the export has under the same name with the same shape.
    """

    name: str
    tensors: int
    parameters: int
    matched: int


@dataclass(frozen=True)
class WrittenConfig:
    """A config that starts from an export, with the results of its checks.

    Attributes:
        text: text of the config.
        settings: what it sets on top of the inherited one.
        stages: the backbone's parts.
        report: report of the verified loading.
    """

    text: str
    settings: tuple[ConfigOverride, ...]
    stages: tuple[StageMatch, ...]
    report: str


def write_detector_config(
    config: str, backbone: str | Path, *, out: str | Path | None = None, plain: bool = False
) -> WrittenConfig:
    """Write a config that starts a user's detector from an exported backbone.

    Nothing is downloaded: weights that the user's config names are replaced before they are loaded.

    Args:
        config: path of an MMDetection config, or the name of a config that ships with DriveMIM or
            with MMDetection (``mmdet::retinanet/retinanet_r50_fpn_1x_coco.py``).
        backbone: export of ``drivemim export``.
        out: config to write; None to check only.
        plain: load by MMEngine's ``init_cfg`` from the ``.pth`` beside the export, so that training
            imports nothing of DriveMIM (and verifies nothing).

    Raises:
        FileNotFoundError: if there is no such export.
        ConfigError: if the config cannot be read or built, or its input cannot be corrected.
        CheckpointError: if a parameter has no counterpart of its name and shape, or the detector's
            features are not the pretrainer's.
    """
    _check_order(config, backbone)
    if "::" not in config:
        config = str(find_config(config))
    state, metadata = read_export(backbone)
    weights = Path(backbone).resolve()
    if plain:
        weights = _plain_weights(weights, state, metadata)
    _check_paths(config, out)
    user_config = _read(config)
    check_input(user_config, config)
    settings = config_overrides(user_config, metadata, weights, plain=plain)
    body = format_overrides(settings, user_config)
    new_config = _read(config, body)
    model = build_model(new_config, config)
    stages = count_stages(model.backbone, state)
    _check_fit(model.backbone, new_config, state, metadata, (config, str(backbone)))
    if plain:
        _check_plain(model.backbone, state, weights)
    report = load_export_content(
        model, backbone, state, metadata, architecture=new_config.model.backbone
    )
    text = f"{_header(config, backbone, settings)}_base_ = {_base(config, out)!r}\n\n"
    if out is None:
        text += body
    else:
        near = _near(weights, Path(out).resolve().parent)
        text += format_overrides(
            config_overrides(user_config, metadata, near, plain=plain), user_config
        )
        write_bytes(Path(out), text.encode())
    return WrittenConfig(text, tuple(settings), stages, report)


def count_stages(backbone: nn.Module, weights: Mapping[str, Tensor]) -> tuple[StageMatch, ...]:
    """Count how much of each part of a backbone is matched by name and shape.

    Args:
        backbone: the detector's backbone.
        weights: weights of the export.
    """
    parts: dict[str, list[tuple[str, Tensor]]] = {}
    for name, value in backbone.state_dict().items():
        parts.setdefault(name.partition(".")[0], []).append((name, value))
    return tuple(
        StageMatch(
            name=part,
            tensors=len(tensors),
            parameters=sum(value.numel() for _, value in tensors),
            matched=sum(
                name in weights and weights[name].shape == value.shape for name, value in tensors
            ),
        )
        for part, tensors in parts.items()
    )


def describe_stages(stages: tuple[StageMatch, ...]) -> str:
    """Format the parts of a backbone as a table for the console."""
    rows = [("part", "tensors", "matched", "numbers")]
    rows += [(s.name, f"{s.tensors}", f"{s.matched}", f"{s.parameters:,}") for s in stages]
    total = [sum(getattr(s, key) for s in stages) for key in ("tensors", "matched", "parameters")]
    rows.append(("all", f"{total[0]}", f"{total[1]}", f"{total[2]:,}"))
    widths = [max(len(row[column]) for row in rows) for column in range(4)]
    return "\n".join(
        f"{row[0]:<{widths[0]}}" + "".join(f"  {row[i]:>{widths[i]}}" for i in (1, 2, 3))
        for row in rows
    )


def _header(config: str, backbone: str | Path, settings: list[ConfigOverride]) -> str:
    """Return the comment of a written config: its origin, and the reason of each setting."""
    lines = [f"# {config}, {_STARTED} {Path(backbone).name}."]
    keys_by_reason: dict[str, list[str]] = {}
    for setting in settings:
        keys_by_reason.setdefault(setting.reason, []).append(setting.key.rpartition(".")[2])
    lines += [f"# {', '.join(keys)}: {reason}." for reason, keys in keys_by_reason.items()]
    # A name or a reason may hold a line break, which would end the comment.
    return "\n".join(" ".join(line.splitlines()) for line in lines) + "\n"


def _base(config: str, out: str | Path | None) -> str:
    """Return the text for ``_base_``: the config's path relative to ``out``'s folder, or absolute.

    The name of a config of MMDetection (``mmdet::...``) stays as it is.
    """
    if "::" in config:
        return config
    path = Path(config).resolve()
    return str(path) if out is None else os.path.relpath(path, Path(out).resolve().parent)


def _near(weights: Path, folder: Path) -> Path:
    """Return the weights' path relative to a config's folder, so that both can be moved together.

    MMEngine replaces ``fileDirname`` by the folder of the file that contains it. The path stays
    absolute if the two share no folder but the root.
    """
    if Path(os.path.commonpath([weights, folder])) == Path(folder.anchor):
        return weights
    return Path("{{ fileDirname }}", os.path.relpath(weights, folder))


def _check_order(config: str, backbone: str | Path) -> None:
    """Refuse a config as the backbone, and weights as the config."""
    swapped = "--config and --backbone may be swapped"
    if Path(backbone).suffix == ".py":
        raise ConfigError(f"--backbone {backbone} is a config, not an exported backbone; {swapped}")
    if Path(config).suffix in (".safetensors", ".pth"):
        raise ConfigError(f"--config {config} holds weights and is not a config; {swapped}")


def _check_paths(config: str, out: str | Path | None) -> None:
    if out is None:
        return
    ensure_writable(out)
    if Path(out).suffix != ".py":
        raise ConfigError(f"{out} must end in .py, since it is a config")
    if "::" not in config and Path(out).resolve() == Path(config).resolve():
        raise ConfigError(f"{out} would replace the config it inherits; name another file")
    if Path(out).is_file() and _STARTED not in Path(out).read_text(errors="replace").split("\n")[0]:
        raise ConfigError(
            f"{out} exists and was not written by drivemim transfer; name another file"
        )


def _read(config: str, body: str = "") -> Config:
    """Read a config that inherits the user's and has the lines of ``body``.

    Raises:
        ConfigError: if the config cannot be read, or cannot be inherited.
    """
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "small.py"
        path.write_text(f"_base_ = {_base(config, None)!r}\n{body}")
        with reading_errors(config):
            try:
                return Config.fromfile(str(path))
            except Exception as error:
                if "lazy_import" not in str(error):
                    raise
                raise ConfigError(
                    f"{config} is a pure Python config (imports, read_base), which a config "
                    "with _base_ cannot inherit; take its counterpart with _base_"
                ) from error


def _check_fit(
    backbone: nn.Module,
    new_config: Config,
    state: Mapping[str, Tensor],
    metadata: Mapping[str, Any],
    names: tuple[str, str],
) -> None:
    """Refuse an export that does not fit the detector's backbone, and say what would fit.

    Args:
        backbone: the detector's backbone.
        new_config: config of the detector.
        state: weights of the export.
        metadata: metadata of the export.
        names: names of the config and of the export, for the message.

    Raises:
        CheckpointError: if a name or shape of a tensor differs.
    """
    chosen, exported = new_config.model.backbone, metadata["architecture"]
    mismatch = describe_mismatch(backbone.state_dict(), state)
    if not mismatch:
        return
    config, path = names
    differences = describe_differences(exported, chosen, backbone)
    fix = f"Take a config whose backbone is {_summary(exported)}"
    if str(exported["type"]).startswith(_OWN):
        fix += " (those of configs/detection with vit in their name)"
    # ``MaskedResNet`` accepts only these settings.
    is_maskable = not chosen.get("dcn") and not chosen.get("plugins")
    is_maskable &= str((chosen.get("norm_cfg") or {}).get("type", "BN")).endswith("BN")
    if short_type(chosen) in _MASKED_RESNETS and is_maskable:
        fix += (
            f", or pretrain {_summary(chosen)}: configs/pretrain/resnet50_nuscenes.py with that as "
            "model.encoder.backbone"
        )
    elif _OWN + short_type(chosen) not in (chosen["type"], exported["type"]):
        fix += f"; DriveMIM does not pretrain {_summary(chosen)}"
    raise CheckpointError(
        f"{path} does not fit {config}: "
        + (f"in the export {differences}" if differences else "its tensors differ")
        + f". {fix}. Tensors: {mismatch}"
    )


def _summary(architecture: Mapping[str, Any]) -> str:
    """Summarise a backbone: ``ResNet(depth=50)``."""
    keys = ("arch", "depth", "embed_dims", "patch_size", "groups", "base_width", "dcn", "plugins")
    given = [f"{key}={architecture[key]}" for key in keys if architecture.get(key) is not None]
    return f"{short_type(architecture)}({', '.join(given)})"


def _plain_weights(source: Path, state: Mapping[str, Tensor], metadata: Mapping[str, Any]) -> Path:
    """Return the path of the ``.pth`` beside an export, for ``plain``.

    Raises:
        ConfigError: if MMDetection does not have the backbone.
        FileNotFoundError: if there is no ``.pth``.
        CheckpointError: if it has other weights than the export.
    """
    if str(metadata["architecture"]["type"]).startswith(_OWN):
        raise ConfigError(
            f"--plain: {source.name} is of {metadata['architecture']['type']}, which only DriveMIM "
            "has; leave --plain out"
        )
    path = source.with_suffix(".pth")
    plain_state, _ = read_export(path)
    if plain_state.keys() != state.keys() or any(
        not torch.equal(plain_state[name], value) for name, value in state.items()
    ):
        raise CheckpointError(
            f"{path} has other weights than {source.name}; export both again with drivemim export"
        )
    return path


def _check_plain(backbone: Any, state: Mapping[str, Tensor], weights: Path) -> None:
    """Check that ``init_cfg`` loads all tensors: MMEngine only logs those that it leaves out.

    Raises:
        CheckpointError: if a tensor is not the export's.
    """
    with suppress_logs():
        backbone.init_weights()
    loaded = backbone.state_dict()
    wrong = [name for name, value in state.items() if not torch.equal(loaded[name], value)]
    if wrong:
        raise CheckpointError(
            f"{weights}: init_cfg left {len(wrong)} tensors as they were, {wrong[0]} the first; "
            "leave --plain out"
        )
