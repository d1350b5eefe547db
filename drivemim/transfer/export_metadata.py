"""Description of an exported backbone: its origin, and the input that it needs.

Letters: P lidar points.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from mmengine.config import Config
from torch import Tensor, nn

from drivemim import __version__
from drivemim.checkpoint_kinds import classify, kind_of
from drivemim.clips import Clips, checked_image_size
from drivemim.config.building import build_model
from drivemim.config.embedded import embedded_config
from drivemim.config.loading import dicts_in, is_pretrainer, load_config
from drivemim.errors import CheckpointError, ConfigError
from drivemim.transfer.feature_check import describe_features, fixed_image, level_numbers
from drivemim.transfer.pretraining_record import pretraining_of
from drivemim.transfer.recipe import describe_recipe


def pretrainer_of(
    content: Any, checkpoint: str | Path, config: str | Path | None
) -> tuple[nn.Module, Config]:
    """Build the pretrainer of a checkpoint, without weights.

    Args:
        content: content of the checkpoint.
        checkpoint: path of the checkpoint.
        config: replaces the config inside the checkpoint.

    Raises:
        CheckpointError: if the checkpoint is not of a pretraining run.
        ConfigError: if the config cannot be built.
    """
    meta = (content.get("meta") or {}) if isinstance(content, dict) else {}
    kind = classify(content)
    is_other = kind not in ("pretraining", "nothing")
    if config is not None:
        cfg = load_config(config)
    elif is_other or (kind == "nothing" and "cfg" not in meta):
        raise CheckpointError(f"{checkpoint} is not of a pretraining run. It is {kind_of(content)}")
    elif "cfg" not in meta:
        raise CheckpointError(f"{checkpoint} holds no config; give the run's with --config")
    else:
        cfg = embedded_config(meta["cfg"], checkpoint)
    model = cfg.get("model") or {}
    if not is_pretrainer(model):
        raise CheckpointError(
            f"{config or checkpoint} is not of a pretraining run: its model is "
            f"{model.get('type')}. {checkpoint} is {kind_of(content)}"
        )
    return build_model(cfg, config or checkpoint, "drivemim"), cfg


def describe_export(
    pretrainer: Any,
    cfg: Config,
    meta: Mapping[str, Any],
    checkpoint: str | Path,
    input_size: tuple[int, int] | None,
) -> dict[str, Any]:
    """Return the metadata of an export: what a detector, or a person, has to know to use it.

    Args:
        pretrainer: the pretrainer with the exported weights, in evaluation mode.
        cfg: config of the run.
        meta: ``meta`` of the checkpoint.
        checkpoint: path of the checkpoint.
        input_size: height and width, pixels; None for those of the run's training images.

    Raises:
        ConfigError: if the input size is unknown, or not a multiple of the backbone's stride.
    """
    size = input_size or training_image_size(cfg)
    stride = pretrainer.encoder.mask_patch_size
    if any(side < 1 or side % stride for side in size):
        raise ConfigError(
            f"input size {size[0]} x {size[1]}: height and width must be multiples of the "
            f"backbone's stride, {stride}"
        )
    fingerprint = _features(pretrainer, size)
    pretraining = pretraining_of(cfg, meta)
    preprocessor = pretrainer.data_preprocessor
    return {
        "drivemim_version": __version__,
        "architecture": _architecture(cfg),
        "normalization": {
            "mean": _numbers(preprocessor.mean),
            "std": _numbers(preprocessor.std),
            "bgr_to_rgb": bool(preprocessor.bgr_to_rgb),
        },
        "input_size": list(size),
        "strides": [size[0] // level["shape"][1] for level in fingerprint],
        "channels": [level["shape"][0] for level in fingerprint],
        "source": {
            "checkpoint": str(Path(checkpoint).resolve()),
            "experiment": meta.get("experiment_name"),
            "iteration": meta.get("iter"),
            "seed": meta.get("seed"),
        },
        "parameters": sum(value.numel() for value in pretrainer.encoder.backbone.parameters()),
        "data": pretraining["data"],
        "recipe": describe_recipe(cfg, meta, checkpoint, pretraining),
        "fingerprint": fingerprint,
    }


@torch.no_grad()
def _features(pretrainer: Any, size: tuple[int, int]) -> list[dict[str, Any]]:
    """Compute statistics of the pretrainer's own features of the fixed image."""
    clips = pretrainer.data_preprocessor(one_frame(fixed_image(size)), False)["clips"]
    maps = list(pretrainer(clips, mode="tensor"))
    return describe_features(maps, level_numbers(pretrainer.encoder.backbone, maps))


def one_frame(image_HWC: Tensor) -> Clips:
    """Make a clip of one frame without boxes from a uint8 BGR image."""
    identity = {3: torch.eye(3), 4: torch.eye(4)}
    labels = torch.full((1, 1, 1, 0), -1, dtype=torch.int64)
    return Clips(
        images_BTNHWC=image_HWC[None, None, None],
        intrinsics_BTN33=identity[3][None, None, None],
        camera_to_clip_BTN44=identity[4][None, None, None],
        timestamps_BTN=torch.zeros(1, 1, 1, dtype=torch.int64),
        valid_BTN=torch.ones(1, 1, 1, dtype=torch.bool),
        boxes_BTNM4=torch.zeros(1, 1, 1, 0, 4),
        labels_BTNM=labels,
        tracks_BTNM=labels.clone(),
        depths_BTNM=torch.zeros(1, 1, 1, 0),
        points_BTNP3=torch.zeros(1, 1, 1, 0, 3),
        seeds_B=torch.zeros(1, dtype=torch.int64),
        tokens=((("",),),),
    )


def _numbers(values: Any) -> list[float]:
    """Return a tensor's numbers, rounded to four decimals to remove rounding errors of float32."""
    return [round(float(value), 4) for value in torch.as_tensor(values).flatten()]


def _architecture(cfg: Config) -> dict[str, Any]:
    """Return the config of the backbone, its ``type`` with a scope."""
    encoder = cfg.model.encoder.to_dict()
    backbone: dict[str, Any] = dict(encoder.get("backbone") or encoder)
    if "." not in str(backbone["type"]):
        backbone["type"] = f"{cfg.get('default_scope', 'drivemim')}.{backbone['type']}"
    return backbone


def training_image_size(cfg: Config) -> tuple[int, int]:
    """Return height and width of the images that a config trains with, pixels.

    Raises:
        ConfigError: if the config does not say, or its ``image_size`` is not a pair of numbers.
    """
    for each in dicts_in(cfg.get("train_dataloader")):
        if (size := each.get("image_size")) is not None:
            return checked_image_size(size)
    raise ConfigError("the config's training data has no image_size; give --input-size H W")
