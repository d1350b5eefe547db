from collections.abc import Callable

import pytest
import torch
from mmengine.model import BaseModel

from drivemim.clips import Clips
from drivemim.models import VisiblePatches
from drivemim.models.patches import PatchMask, gather_patches

AUXILIARY = [{"type": "VisiblePatches", "weight": 0.25, "target": {"type": "NormalizedPixels"}}]


def test_an_inverted_mask_lists_what_the_mask_of_the_opposite_does() -> None:
    mask = torch.rand(3, 4, 6, generator=torch.Generator().manual_seed(1)) < 0.4
    valid = torch.tensor([True, False, True])
    inverted = PatchMask.from_tensor(mask, 16, valid).inverted()
    expected = PatchMask.from_tensor(~mask, 16, valid)
    assert inverted.num_visible == expected.num_visible
    assert inverted.valid == expected.valid
    assert inverted.mask_Xhw.equal(expected.mask_Xhw)
    for name in ("visible", "hidden"):
        one, other = getattr(inverted, name), getattr(expected, name)
        assert one.indices_XK.equal(other.indices_XK)
        assert one.present_XK.equal(other.present_XK)


def test_the_loss_is_that_of_the_visible_patches(
    build_pretrainer: Callable[..., BaseModel],
    build_clips: Callable[..., Clips],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """By the definition: mean and variance of each visible patch, and a head of its own."""
    model = build_pretrainer("vit", decoder="pyramid", auxiliary=AUXILIARY).eval()
    clips = build_clips(B=2, T=1, N=2)
    mask = torch.rand(2, 1, 2, 4, 6, generator=torch.Generator().manual_seed(2)) < 0.6
    monkeypatch.setattr(model, "mask", lambda clips, teacher_map_BTNhw=None: mask)
    losses = model(clips, mode="loss")
    images = model.data_preprocessor.normalize(clips.images_BTNHWC)
    patch_mask = PatchMask.from_tensor(mask, 16)
    vectors = model.decoder.all_patches(model.encode(images, patch_mask), patch_mask, clips)
    predictions = model.auxiliary_heads[0](vectors).flatten(0, 2)
    errors = []
    for image, shown, predicted in zip(
        images.flatten(0, 2), ~mask.flatten(0, 2), predictions, strict=True
    ):
        for row, column in shown.nonzero().tolist():
            patch = image[:, row * 16 : row * 16 + 16, column * 16 : column * 16 + 16].flatten()
            target = (patch - patch.mean()) / (patch.var(correction=0) + 1e-6).sqrt()
            errors.append((predicted[row * 6 + column] - target).square().mean())
    expected = 0.25 * torch.stack(errors).mean().item()
    assert losses["loss_visible"].item() == pytest.approx(expected, rel=1e-4)
    plain = build_pretrainer("vit", decoder="pyramid").eval()
    monkeypatch.setattr(plain, "mask", lambda clips, teacher_map_BTNhw=None: mask)
    assert losses["loss"].item() == pytest.approx(
        plain(clips, mode="loss")["loss"].item(), rel=1e-5
    )


def test_nothing_visible_has_no_loss(build_clips: Callable[..., Clips]) -> None:
    target = VisiblePatches(target={"type": "NormalizedPixels"})
    clips = build_clips(B=1, T=1, N=1)
    mask = PatchMask.from_tensor(torch.ones(1, 1, 1, 4, 6, dtype=torch.bool), 16)
    predictions = torch.zeros(1, 24, 768, requires_grad=True)
    loss = target.auxiliary_loss(predictions, torch.rand(1, 1, 1, 3, 64, 96), clips, mask)
    loss.backward()
    assert loss.item() == 0
    assert predictions.grad is not None
    assert not predictions.grad.any()
    assert gather_patches(predictions, mask.visible).numel() == 0
