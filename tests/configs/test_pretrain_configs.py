from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from mmengine.config import Config
from mmengine.registry import DefaultScope

from drivemim.models.cells import grid_of
from drivemim.registry import DATA_SAMPLERS, MODELS

FOLDER = Path(__file__).resolve().parents[2] / "configs" / "pretrain"
CONFIGS = sorted(FOLDER.glob("*.py"))


def clip_datasets(config: Any) -> Iterator[Mapping[str, Any]]:
    """Every ClipDataset within a config, however deeply it is wrapped."""
    if isinstance(config, Mapping):
        if str(config.get("type")).endswith("ClipDataset"):
            yield config
        config = list(config.values())
    if isinstance(config, list | tuple):
        for each in config:
            yield from clip_datasets(each)


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_model_builds_and_fits_its_images(path: Path) -> None:
    config = Config.fromfile(path)
    assert config.default_scope == "drivemim"
    with DefaultScope.overwrite_default_scope("drivemim"), torch.device("meta"):
        model = MODELS.build(config.model)
    datasets = list(clip_datasets(config.train_dataloader.dataset))
    assert datasets
    for dataset in datasets:
        h, w = grid_of(tuple(dataset["image_size"]), model.encoder.mask_stride)
        assert 0 < round(model.masking.ratio * h * w) < h * w
    assert DATA_SAMPLERS.get(config.train_dataloader.sampler.type) is not None
    end = config.param_scheduler[-1]["end"]
    assert config.param_scheduler[0]["end"] == config.param_scheduler[1]["begin"] < end
    assert end == config.train_cfg.max_iters


def test_there_are_both_sizes_of_both_backbones_and_every_mask() -> None:
    assert {path.stem for path in CONFIGS} >= {
        "resnet18_object_town",
        "resnet50_object_nuscenes",
        "vit-base_object_nuscenes",
        "vit-micro_block_town",
        "vit-micro_object_town",
        "vit-micro_random_town",
        "vit-micro_tube_town",
    }


def test_masks_are_switched_by_one_key() -> None:
    object_aware = Config.fromfile(FOLDER / "vit-micro_object_town.py")
    for mask in ("random", "block", "tube"):
        other = Config.fromfile(FOLDER / f"vit-micro_{mask}_town.py")
        assert other.model.masking.type == f"{mask.capitalize()}Mask"
        other.model.masking = object_aware.model.masking
        assert other.to_dict() == object_aware.to_dict()


def test_the_recipe_that_was_measured_ahead_is_there_at_full_size() -> None:
    small, full = (
        Config.fromfile(FOLDER / f"vit-{name}.py")
        for name in ("micro_single_town", "base_single_nuscenes")
    )
    assert full.model.masking == small.model.masking
    assert full.model.target == small.model.target
    for part, key in (
        ("encoder", "attention_init"),
        ("decoder", "attention_init"),
        ("decoder", "attend"),
    ):
        assert full.model[part][key] == small.model[part][key]
    single = full.train_dataloader.dataset.dataset
    assert (single.steps, single.one_camera) == (1, True)
    clips = Config.fromfile(FOLDER / "vit-base_object_nuscenes.py").train_dataloader
    assert full.train_dataloader.batch_size == clips.batch_size * clips.dataset.dataset.steps * 6


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_a_config_names_only_what_differs(path: Path) -> None:
    assert len(path.read_text().splitlines()) < 25
