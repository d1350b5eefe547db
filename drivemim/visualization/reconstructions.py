"""Pictures of a trained pretrainer's input, mask and reconstruction."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from mmengine.config import Config

from drivemim.array_types import Image
from drivemim.checkpoint_kinds import (
    check_weights,
    classify,
    describe_mismatch,
    is_export,
    kind_of,
    unwrapped,
)
from drivemim.clips import Clips
from drivemim.compat import read_checkpoint
from drivemim.config.building import build_model
from drivemim.config.dumps import own_config_advised
from drivemim.config.loading import config_errors, is_pretrainer, load_config
from drivemim.data import ItemRequest
from drivemim.data.clips.plain_clips import plain_dataset
from drivemim.errors import MAX_SEED, CheckpointError, ConfigError, check_range
from drivemim.files import ensure_folder
from drivemim.models import MaskedPretrainer
from drivemim.registry import DATASETS
from drivemim.visualization.panels import clip_panel, reconstruction_panel, save_image
from drivemim.visualization.picture_data import camera_names, check_width


def draw_reconstructions(
    config: str | Path,
    checkpoint: str | Path,
    out: str | Path,
    *,
    count: int = 4,
    scenes: str | Sequence[str] | None = None,
    options: Mapping[str, Any] | None = None,
    width: int = 1200,
    seed: int = 0,
) -> list[Path]:
    """Draw clips and their reconstructions, evenly spread over the training data.

    The clips are not augmented and have no missing frames.

    Args:
        config: config of the pretraining run.
        checkpoint: checkpoint of the same run.
        out: folder for ``clip-NUMBER.jpg`` (frames, boxes, tracks) and
            ``reconstruction-NUMBER.jpg`` (original, masked, reconstruction, error).
        count: number of clips.
        scenes: a split or scene names to use instead of the training data's.
        options: overrides of the config, by dotted key.
        width: maximum width of a picture, pixels; frames are enlarged at most 1.5 times.
        seed: random seed of the masks.

    Returns:
        The written files, clips and reconstructions alternating.

    Raises:
        ConfigError: if the config is not a pretrainer's, or a number is out of range.
        NotADirectoryError: if ``out`` is a file.
        CheckpointError: if the checkpoint is damaged, would run code, or does not fit.
    """
    check_range("--clips", count, 1)
    check_range("--seed", seed, 0, MAX_SEED - count)
    ensure_folder(out)
    cfg = load_config(config, options)
    if not is_pretrainer(cfg.get("model") or {}):
        raise ConfigError(
            f"{config} is not the config of a pretraining run: its model is "
            f"{(cfg.get('model') or {}).get('type')}; drivemim test --show-dir FOLDER draws the "
            "detections of a detector"
        )
    if cfg.get("train_dataloader") is None:
        raise ConfigError(f"{config} has no train_dataloader, whose clips are drawn")
    model = _load_model(cfg, checkpoint)
    with config_errors(), own_config_advised(config, checkpoint):
        dataset = DATASETS.build(plain_dataset(cfg.train_dataloader.dataset.to_dict(), scenes))
    written = []
    panels = reconstruction_panels(model, dataset, count=count, width=width, seed=seed)
    for number, (clip, reconstruction) in enumerate(panels):
        for kind, panel in (("clip", clip), ("reconstruction", reconstruction)):
            written.append(Path(out) / f"{kind}-{number}.jpg")
            save_image(written[-1], panel)
    return written


@torch.no_grad()
def reconstruction_panels(
    model: MaskedPretrainer, dataset: Any, *, count: int, width: int, seed: int
) -> Iterator[tuple[Image, Image]]:
    """Draw clips, evenly spread over a data set, and a model's reconstructions of them.

    Args:
        model: pretrainer in evaluation mode.
        dataset: clips, such as those of ``plain_dataset``.
        count: number of clips; all of them if there are fewer.
        width: maximum width of a picture, pixels; frames are enlarged at most 1.5 times.
        seed: random seed of the masks.

    Yields:
        A picture of frames, boxes and tracks, and one of original, mask, reconstruction and error.

    Raises:
        ConfigError: if the width is too small for the cameras.
    """
    chosen = np.linspace(0, len(dataset) - 1, min(count, len(dataset))).round().astype(int)
    for number, item in enumerate(chosen):
        clips: Clips = dataset[ItemRequest(int(item), seed=seed + number)]
        check_width(width, clips)
        tile_width = min(3 * clips.image_size[1] // 2, width // clips.shape[2])
        cameras = camera_names(dataset, clips)
        reconstruction = model.predict(**model.data_preprocessor(clips, False)).cpu()
        yield (
            clip_panel(clips, cameras=cameras, tile_width=tile_width),
            reconstruction_panel(clips, reconstruction, cameras=cameras, tile_width=tile_width),
        )


def _load_model(cfg: Config, checkpoint: str | Path) -> MaskedPretrainer:
    """Build the pretrainer of a config with the weights of a checkpoint, in evaluation mode.

    Raises:
        CheckpointError: if the file is not a training checkpoint of this model.
    """
    exported = is_export(checkpoint)
    content = None if exported else read_checkpoint(checkpoint)
    if exported or classify(content) == "export":
        raise CheckpointError(
            f"{checkpoint} is an exported backbone without a decoder; give the run's iter_*.pth"
        )
    if not isinstance(content, dict) or not isinstance(content.get("state_dict"), Mapping):
        raise CheckpointError(
            f"{checkpoint} is not a training checkpoint (no state_dict). It is {kind_of(content)}"
        )
    model: MaskedPretrainer = build_model(cfg, cfg.filename, "drivemim")
    weights = unwrapped(content["state_dict"])
    if mismatch := describe_mismatch(model.state_dict(), weights):
        raise CheckpointError(
            f"{checkpoint} does not fit {cfg.filename}; give the config of the same run. It is "
            f"{kind_of(content)}. Tensors: {mismatch}"
        )
    check_weights(checkpoint, weights, model.state_dict())
    model.load_state_dict(weights)
    model.eval()
    return model
