from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import shipped_configs
import torch
from mmengine.config import Config
from mmengine.registry import DefaultScope

from drivemim.clips import patch_grid
from drivemim.registry import DATA_SAMPLERS, MODELS

FOLDER, STUDIES = (root / "pretrain" for root in (shipped_configs.CONFIGS, shipped_configs.STUDIES))
CONFIGS = shipped_configs.runnable("pretrain")


def clip_datasets(config: Any) -> Iterator[Mapping[str, Any]]:
    """Every ClipDataset within a config, however deeply it is wrapped."""
    if isinstance(config, Mapping):
        if str(config.get("type")).endswith("ClipDataset"):
            yield config
        config = list(config.values())
    if isinstance(config, list | tuple):
        for each in config:
            yield from clip_datasets(each)


@pytest.mark.parametrize("path", CONFIGS, ids=shipped_configs.config_name)
def test_model_builds_and_fits_its_images(path: Path) -> None:
    config = Config.fromfile(path)
    assert config.default_scope == "drivemim"
    with DefaultScope.overwrite_default_scope("drivemim"), torch.device("meta"):
        model = MODELS.build(config.model)
    datasets = list(clip_datasets(config.train_dataloader.dataset))
    assert datasets
    for dataset in datasets:
        h, w = patch_grid(tuple(dataset["image_size"]), model.encoder.mask_patch_size)
        assert 0 < round(model.masking.mask_ratio * h * w) < h * w
    assert DATA_SAMPLERS.get(config.train_dataloader.sampler.type) is not None
    end = config.param_scheduler[-1]["end"]
    assert config.param_scheduler[0]["end"] == config.param_scheduler[1]["begin"] < end
    assert end == config.train_cfg.max_iters


def test_there_are_recipes_of_both_backbones_and_small_ones() -> None:
    full = {
        f"{backbone}{recipe}"
        for backbone in ("resnet50", "vit_base")
        for recipe in ("_nuscenes", "_mae_nuscenes", "_object_nuscenes", "_frames")
    }
    small = {f"vit_micro_{data}" for data in ("town", "nuscenes", "frames")}
    assert {path.stem for path in FOLDER.glob("*.py")} == full | small


@pytest.mark.parametrize("path", sorted(FOLDER.glob("*.py")), ids=shipped_configs.config_name)
def test_the_learning_rate_follows_the_batch_size(path: Path) -> None:
    """The batch of the config itself, on the GPUs that it is for, needs no other rate."""
    config = Config.fromfile(path)
    assert config.auto_scale_lr.enable
    processes = 8 if path.stem.endswith("_nuscenes") and "micro" not in path.stem else 1
    batch = processes * config.train_dataloader.batch_size
    base = config.auto_scale_lr.base_batch_size
    # One GPU for folders of images has a smaller batch than the eight of nuScenes' recipes.
    expected = {"vit_base_frames": 32 / 576, "resnet50_frames": 32 / 576}.get(path.stem, 1)
    assert batch / base == pytest.approx(expected)


def test_masks_are_switched_by_one_key() -> None:
    object_aware = Config.fromfile(STUDIES / "vit_micro_object_town.py")
    for mask in ("random", "tube", "world"):
        other = Config.fromfile(STUDIES / f"vit_micro_{mask}_town.py")
        assert other.model.masking.type == f"{mask.capitalize()}Mask"
        other.model.masking = object_aware.model.masking
        assert other.to_dict() == object_aware.to_dict()


@pytest.mark.parametrize("path", CONFIGS, ids=shipped_configs.config_name)
def test_every_config_follows_the_default_recipe_but_the_baseline(path: Path) -> None:
    model = Config.fromfile(path).model
    if "_mae_" in path.stem:
        assert model.decoder.type == "ClipDecoder"
        assert model.target == dict(type="NormalizedPixels", eps=1e-6)
        assert model.encoder.get("attention_init", "xavier") == "xavier"
        assert model.decoder.get("attention_init", "xavier") == "xavier"
        return
    assert model.decoder.type == "PyramidDecoder"
    assert model.decoder.attention_init == "mimetic"
    assert model.encoder.get("attention_init") == (
        "mimetic" if model.encoder.type == "ViT" else None
    )
    if model.target.type == "NormalizedPixels":
        assert model.target.eps == 0.05


@pytest.mark.parametrize(("small", "full"), [
    (FOLDER / "vit_micro_town.py", "vit_base_nuscenes"),
    (STUDIES / "resnet18_real_frames.py", "resnet50_nuscenes"),
])  # fmt: skip
def test_the_recipe_that_was_measured_is_there_at_full_size(small: Path, full: str) -> None:
    measured, config = (Config.fromfile(path) for path in (small, FOLDER / f"{full}.py"))
    assert config.model.masking == measured.model.masking
    assert config.model.target == measured.model.target
    for key in ("type", "depth", "attention_scope", "attention_init"):
        assert config.model.decoder[key] == measured.model.decoder[key]
    assert config.model.decoder.neck.type == measured.model.decoder.neck.type
    single = config.train_dataloader.dataset
    assert (single.num_frames, single.single_camera) == (1, True)
    clips = Config.fromfile(FOLDER / "vit_base_object_nuscenes.py").train_dataloader
    assert config.train_dataloader.batch_size == clips.batch_size * clips.dataset.num_frames * 6
