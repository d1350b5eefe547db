"""Masks without a config: clips from images, without grid and generators."""

import doctest

import numpy as np
import pytest
import torch

import drivemim.masking
from drivemim.clips import Clips
from drivemim.errors import ConfigError
from drivemim.masking import CausalMask, MaskStrategy, MotionMask, ObjectMask, RandomMask, WorldMask

SHAPE, GRID = (2, 3, 2), (4, 6)
PUBLIC = {
    name: each
    for name, each in vars(drivemim.masking).items()
    if isinstance(each, type) and issubclass(each, MaskStrategy) and each is not MaskStrategy
}


@pytest.fixture
def images():
    generator = torch.Generator().manual_seed(0)
    return torch.randint(256, (*SHAPE, 64, 96, 3), dtype=torch.uint8, generator=generator)


@pytest.fixture
def data(images):
    return {
        "images": images,
        "boxes": torch.tensor([[8.0, 8, 40, 40], [50, 20, 90, 60]]),
        "intrinsics": torch.tensor([[60.0, 0, 48], [0, 60, 32], [0, 0, 1]]),
        "poses": torch.tensor([[0.0, 0, 1, 0], [-1, 0, 0, 0], [0, -1, 0, 1.5], [0, 0, 0, 1]]),
        "teacher_map_BTNhw": torch.rand(*SHAPE, *GRID, generator=torch.Generator().manual_seed(1)),
    }


@pytest.mark.parametrize("name", PUBLIC)
def test_the_example_of_every_mask_runs(name, data):
    examples = doctest.DocTestParser().get_examples(PUBLIC[name].__doc__)
    assert examples
    names = {**vars(drivemim.masking), "Clips": Clips, **data}
    for example in examples:
        exec(example.source, names)
    mask_BTNhw = names["mask_BTNhw"]
    assert mask_BTNhw.shape == (*SHAPE, *GRID)
    # 18 of 24 patches in each of six frames.
    assert mask_BTNhw.flatten(1).sum(dim=-1).tolist() == [108, 108]


def test_without_generators_a_mask_follows_the_clips_seeds(images):
    first = RandomMask()(Clips.from_images(images, seed=5))
    assert torch.equal(first, RandomMask()(Clips.from_images(images, seed=5)))
    expected = [torch.Generator().manual_seed(seed) for seed in (5, 6)]
    assert torch.equal(first, RandomMask()(Clips.from_images(images), GRID, expected))
    assert not torch.equal(first, RandomMask()(Clips.from_images(images, seed=7)))


def test_the_patch_size_sets_the_grid(images):
    clips = Clips.from_images(images)
    assert RandomMask()(clips, patch_size=32).shape == (*SHAPE, 2, 3)
    assert RandomMask()(clips, (3, 5)).shape == (*SHAPE, 3, 5)
    with pytest.raises(ConfigError, match="64x96 .* is not a multiple of the patch size 40"):
        RandomMask()(clips, patch_size=40)


def test_boxes_without_tracks_or_labels_are_hidden_as_objects():
    images = torch.zeros(1, 64, 96, 3, dtype=torch.uint8)
    boxes = torch.tensor([[0.0, 0, 64, 64]])
    # Of 24 patches, 12 are hidden; the box owns 16, of which one in four stays visible.
    strategy = ObjectMask(
        mask_ratio=0.5, budget_fraction=1.0, hide_probability=1.0, visible_fraction=0.25
    )
    mask_hw = strategy(Clips.from_images(images, boxes=boxes))[0, 0, 0]
    assert (int(mask_hw.sum()), int(mask_hw[:, :4].sum())) == (12, 12)


@pytest.mark.parametrize("given", [np.zeros((1, 64, 96, 3), np.uint8), torch.zeros(1, 64, 96, 3)])
def test_images_that_are_not_clips_are_refused(given):
    match = rf"RandomMask masks Clips, not {type(given).__name__}; .* Clips.from_images\(images\)"
    with pytest.raises(ConfigError, match=match):
        RandomMask()(given)


@pytest.mark.parametrize(
    ("strategy", "given", "lacking"),
    [
        (ObjectMask(), {}, "ObjectMask needs the boxes of the images"),
        (
            ObjectMask(budget_fraction={"vehicle": 0.1}),
            {"boxes"},
            "with a budget fraction per class needs the labels",
        ),
        (WorldMask(), {}, "WorldMask needs the intrinsics and poses of the images"),
        (WorldMask(), {"intrinsics"}, "WorldMask needs the poses of the images"),
        (MotionMask(), {"poses"}, "MotionMask needs the intrinsics of the images"),
        (CausalMask(base=WorldMask()), {}, "WorldMask needs the intrinsics and poses"),
    ],
)
def test_missing_inputs_of_a_mask_are_named(strategy, given, lacking, data):
    clips = Clips.from_images(data["images"], **{name: data[name] for name in given})
    with pytest.raises(ConfigError, match=lacking):
        strategy(clips)
