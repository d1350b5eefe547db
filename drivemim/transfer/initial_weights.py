"""Strictly load the weights that a run starts from, whichever config key names them.

For ``load_from`` and ``init_cfg=dict(type='Pretrained')``, MMEngine loads the tensors whose names
agree, even if none does. Here every tensor of a backbone has to fit.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mmengine.config import Config
from torch import nn

from drivemim.checkpoint_kinds import check_weights, describe_mismatch, unwrapped
from drivemim.config.loading import is_pretrainer
from drivemim.config.nested import short_type
from drivemim.errors import CheckpointError, ConfigError
from drivemim.transfer.exporting import load_content
from drivemim.transfer.run_checkpoints import weights_of
from drivemim.transfer.weights_file import read_weights

# MMDetection's backbones whose parameters have the same names as in published files. Others, such
# as Swin, rename the parameters of a file when they load it.
_SAME_NAMES = ("ResNet", "ResNetV1d", "ResNeXt")


def take_initial_weights(cfg: Config) -> dict[str, Any] | None:
    """Remove the weights that a config starts from, for ``drivemim.LoadBackbone`` to load.

    For a pretrainer, these are ``load_from`` and the ``init_cfg`` of the model, of its encoder and
    of the encoder's backbone. For a detector, it is the ``init_cfg`` of its backbone, if that is a
    ViT, or a ResNet that starts from a file. If a detector has a ``load_from``, nothing is removed:
    MMEngine loads a whole detector.

    Returns:
        Arguments of the hook, or None if there is nothing to load.

    Raises:
        ConfigError: if several keys name weights.
    """
    entries: dict[str, dict[str, Any]] = {}
    if is_pretrainer(cfg.model):
        encoder = cfg.model.encoder
        parts = {"model": cfg.model, "model.encoder": encoder}
        if isinstance(encoder.get("backbone"), Mapping):
            parts["model.encoder.backbone"] = encoder.backbone
        if cfg.get("load_from"):
            entries["load_from"] = {"checkpoint": cfg.load_from, "whole": True}
    elif cfg.get("load_from"):
        return None  # A whole detector, which MMEngine loads over the backbone's weights.
    else:
        parts = {"model.backbone": cfg.model.get("backbone") or {}}
    for key, part in parts.items():
        entry = _pretrained(part)
        if entry is None or not (is_pretrainer(cfg.model) or _is_strict(part, entry)):
            continue
        part.init_cfg = _without_pretrained(part.init_cfg)
        entries[f"{key}.init_cfg"] = {
            "checkpoint": entry.get("checkpoint"),
            "prefix": str(entry.get("prefix") or ""),
            "whole": key == "model",
        }
    if len(entries) > 1:
        raise ConfigError(f"{' and '.join(entries)} both name weights to start from; keep one")
    if "load_from" in entries:
        cfg.load_from = None
    return next(iter(entries.values()), None)


def backbone_config(model: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the part of a detector's or pretrainer's config that describes its backbone."""
    encoder: Mapping[str, Any] = model.get("encoder") or {}
    return model.get("backbone") or encoder.get("backbone") or encoder


def load_initial_weights(
    model: nn.Module,
    path: str | Path,
    *,
    architecture: Mapping[str, Any] | None = None,
    prefix: str = "",
    whole: bool = False,
) -> str:
    """Load initial weights: every tensor of the backbone, or none.

    Args:
        model: a detector or a pretrainer.
        path: an export, or a checkpoint of any origin.
        architecture: config of the backbone, to name differences.
        prefix: prefix of the names to take.
        whole: whether a pretraining run's own checkpoint fills the pretrainer, including the
            decoder.

    Returns:
        Lines for the log.

    Raises:
        FileNotFoundError: if there is no such file.
        CheckpointError: if it is damaged or does not fit.
    """
    content, metadata = read_weights(path)
    if whole:
        state = content.get("state_dict") if isinstance(content, Mapping) else None
        if metadata is None and isinstance(state, Mapping) and _is_of(state, model):
            weights = weights_of(content, str(path), ema=False)
            if mismatch := describe_mismatch(model.state_dict(), weights):
                raise CheckpointError(
                    f"{path} is of another model than the config's {type(model).__name__}. To "
                    "start from its backbone alone, export it with drivemim export. Tensors: "
                    f"{mismatch}"
                )
            check_weights(path, weights, model.state_dict())
            model.load_state_dict(weights)
            loaded = f"Loaded all {len(weights)} tensors of {path} into the pretrainer"
            if content.get("ema_state_dict"):
                loaded += (
                    ". These are the trained weights; to start from the averaged ones, which the "
                    "file also has, export them with drivemim export --ema"
                )
            return loaded
    return load_content(model, path, content, metadata, architecture=architecture, prefix=prefix)


def _is_of(state: Mapping[str, Any], model: nn.Module) -> bool:
    """Return whether a state dict is of a pretrainer: it has its encoder and another part."""
    parts = {name.partition(".")[0] for name in unwrapped(state)}
    wanted = {name.partition(".")[0] for name in model.state_dict()}
    return "encoder" in parts and bool(parts & (wanted - {"encoder"}))


def _pretrained(part: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """Return the entry of a part's ``init_cfg`` that names a checkpoint; None if there is none."""
    init = part.get("init_cfg")
    entries = init if isinstance(init, (list, tuple)) else [init]
    for entry in entries:
        if isinstance(entry, Mapping) and short_type({"type": entry.get("type")}) == "Pretrained":
            return entry
    return None


def _without_pretrained(init: Any) -> Any:
    """Return an ``init_cfg`` without the entry that names a checkpoint."""
    if not isinstance(init, (list, tuple)):
        return None
    return [entry for entry in init if short_type({"type": entry.get("type")}) != "Pretrained"]


def _is_strict(backbone: Mapping[str, Any], entry: Mapping[str, Any]) -> bool:
    """Return whether every tensor of a detector's backbone has to be in its checkpoint.

    Published weights (``torchvision://resnet50``) are left to MMEngine.
    """
    kind, path = short_type(backbone), str(entry.get("checkpoint"))
    return kind == "ViT" or (kind in _SAME_NAMES and "://" not in path)
