from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.model import BaseModel

from drivemim.clips import Clips
from drivemim.errors import ConfigError
from drivemim.models import ObjectWeights
from drivemim.models.patches import PatchMask
from drivemim.transfer.mask_reads import describe_reads
from drivemim.transfer.recipe import describe_settings

GRID = (4, 6)  # 64 x 96 pixels, patches of 16


def with_boxes(clips: Clips, boxes: list[list[tuple[float, float, float, float]]]) -> Clips:
    """Return clips of one frame each with these boxes; (0, 0, 0, 0) is padding."""
    boxes_BM4 = torch.tensor(boxes)
    labels_BM = torch.where(boxes_BM4.any(dim=-1), 0, -1)
    B, M, _ = boxes_BM4.shape
    return replace(
        clips,
        boxes_BTNM4=boxes_BM4[:, None, None],
        labels_BTNM=labels_BM[:, None, None],
        tracks_BTNM=labels_BM[:, None, None],
        depths_BTNM=torch.full((B, 1, 1, M), torch.inf),
    )


@pytest.fixture
def clips(build_clips: Callable[..., Clips]) -> Clips:
    """Two clips: the first has a car on patches (1, 1) to (2, 2), the second none."""
    none = (0.0, 0.0, 0.0, 0.0)
    return with_boxes(build_clips(B=2, T=1, N=1), [[(16.0, 16.0, 48.0, 48.0)], [none]])


def test_patches_of_objects_weigh_more(clips: Clips) -> None:
    expected = torch.ones(2, 1, 1, *GRID)
    expected[0, :, :, 1:3, 1:3] = 4.0
    assert ObjectWeights()(clips, GRID).equal(expected)
    assert ObjectWeights(placebo=True)(clips, GRID).equal(expected.flip(0))


def test_the_loss_is_the_weighted_mean(
    build_pretrainer: Callable[..., BaseModel], clips: Clips, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Frames hide different numbers of patches, so that lists are padded."""
    model = build_pretrainer("vit").eval()
    mask = torch.zeros(2, 1, 1, *GRID, dtype=torch.bool)
    mask[0, 0, 0, 1, :4] = True  # two of these four patches show the car
    mask[1, 0, 0, 3, 2:4] = True
    monkeypatch.setattr(model, "mask", lambda clips, teacher_map_BTNhw=None: mask)
    images = model.data_preprocessor.normalize(clips.images_BTNHWC)
    patch_mask = PatchMask.from_tensor(mask, 16)
    predictions = model.decode(model.encode(images, patch_mask), patch_mask, clips)
    errors = model.target.errors(predictions, model.target(images, patch_mask)).detach().numpy()
    car = errors[0, 0, 0, :4], np.array([1.0, 5.0, 5.0, 1.0])
    empty = errors[1, 0, 0, :2].sum()
    expected = ((car[0] * car[1]).sum() + empty) / (12 + 2)
    model.patch_weights = ObjectWeights(weight=5.0)
    assert model(clips, mode="loss")["loss"].item() == pytest.approx(expected, rel=1e-5)
    model.patch_weights = None
    plain = np.append(car[0], errors[1, 0, 0, :2]).mean()
    assert model(clips, mode="loss")["loss"].item() == pytest.approx(plain, rel=1e-5)


def test_they_read_boxes_and_are_recorded() -> None:
    model = {"masking": {"type": "RandomMask"}, "patch_weights": {"type": "ObjectWeights"}}
    data = {"boxes": "AnnotatedBoxes", "boxes_from": "annotations", "annotated_frames": 3,
            "lidar_points": 0}  # fmt: skip
    cfg = Config({"model": model})
    assert describe_reads(cfg, [data])["boxes"] == ["ObjectWeights"]
    assert describe_settings(cfg)["patch_weights"] == {"type": "ObjectWeights"}


def test_mistakes_are_named(build_clips: Callable[..., Clips], clips: Clips) -> None:
    with pytest.raises(ConfigError, match="weight=0 must be positive"):
        ObjectWeights(weight=0)
    with pytest.raises(ConfigError, match="batch_size=2 or more"):
        ObjectWeights(placebo=True)(with_boxes(build_clips(B=1, T=1, N=1), [[(0, 0, 9, 9)]]), GRID)
    with pytest.raises(ConfigError, match="ObjectWeights needs the boxes"):
        ObjectWeights()(Clips.from_images(torch.zeros(1, 64, 96, 3, dtype=torch.uint8)), GRID)
