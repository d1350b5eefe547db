from math import exp, log
from types import SimpleNamespace

import pytest
import torch
from torch import Tensor

from drivemim.models.teachers import LossPredictor

PATCHES16 = SimpleNamespace(mask_patch_size=16)


def row(*values: float) -> Tensor:
    """One frame of one row of patches."""
    return torch.tensor(values).reshape(1, 1, 1, 1, -1)


def softplus(x: float) -> float:
    return log(1 + exp(x))


def test_loss_by_hand() -> None:
    """Patches 0, 1 and 3 of four are hidden; pairs are 1 and 2 patches apart, around the end."""
    teacher = LossPredictor(encoder=PATCHES16, loss_weight=0.5)
    predicted, errors = row(1.0, -0.5, 9.0, 2.0), row(3.0, 1.0, 0.0, 1.0)
    mask = row(1, 1, 0, 1).bool()
    # Patches 1 and 3 have equal errors, and patch 2 is visible. The pairs 0 and 3, and 1 and 0,
    # remain. Patch 0 is harder in both; it is predicted 1 below patch 3 and 1.5 above patch 1.
    expected = (softplus(1.0) + softplus(-1.5)) / 2
    found = teacher.loss(predicted, errors, mask, torch.ones(1, 1, 1, dtype=torch.bool))
    assert found.item() == pytest.approx(0.5 * expected, rel=1e-6)


def test_frames_are_not_compared_and_invalid_ones_teach_nothing() -> None:
    teacher = LossPredictor(encoder=PATCHES16, loss_weight=1.0)
    predicted = torch.cat([row(0.0, 1.0), row(5.0, 9.0), row(7.0, -7.0)], dim=2)
    errors = torch.cat([row(1.0, 2.0), row(30.0, 10.0), row(1.0, 2.0)], dim=2)
    valid = torch.tensor([[[True, True, False]]])
    found = teacher.loss(predicted, errors, torch.ones_like(errors).bool(), valid)
    assert found.item() == pytest.approx((softplus(-1.0) + softplus(4.0)) / 2, rel=1e-6)


@pytest.mark.parametrize(
    ("shape", "hidden", "valid"), [((2, 3), 1, 0), ((2, 3), 0, 1), ((1, 1), 1, 1)]
)
def test_without_a_pair_gradients_are_zero(shape: tuple[int, int], hidden: int, valid: int) -> None:
    teacher = LossPredictor(encoder=PATCHES16)
    images = torch.randn(1, 1, 1, 3, 16 * shape[0], 16 * shape[1])
    mask = torch.full((1, 1, 1, *shape), hidden).bool()
    errors = torch.rand(1, 1, 1, *shape)
    loss = teacher.loss(teacher(images, shape), errors, mask, torch.full((1, 1, 1), valid).bool())
    loss.backward()
    assert loss.item() == 0
    for parameter in teacher.parameters():
        assert parameter.grad is not None
        assert (parameter.grad == 0).all()


@pytest.mark.parametrize("stride", [4, 16, 32])
def test_predictions_before_training_are_zero(stride: int) -> None:
    teacher = LossPredictor(encoder=SimpleNamespace(mask_patch_size=stride))
    predicted = teacher(torch.randn(2, 1, 3, 3, 3 * stride, 5 * stride), (3, 5))
    assert predicted.equal(torch.zeros(2, 1, 3, 3, 5))


def ranks(values: Tensor) -> Tensor:
    return values.flatten().argsort().argsort().double()


def test_learns_to_rank_held_out_patches() -> None:
    """If the error is a patch's brightness, a few steps teach the order of unseen patches."""
    torch.manual_seed(0)
    teacher = LossPredictor(encoder=PATCHES16)
    optimizer = torch.optim.AdamW(teacher.parameters(), lr=3e-3)

    def patches() -> tuple[Tensor, Tensor]:
        brightness = torch.randn(2, 1, 2, 6, 8)
        images = brightness[:, :, :, None].repeat_interleave(16, -2).repeat_interleave(16, -1)
        return images.expand(-1, -1, -1, 3, -1, -1) + 0.1 * torch.randn(2, 1, 2, 3, 96, 128), (
            brightness
        )

    valid = torch.ones(2, 1, 2, dtype=torch.bool)
    for _ in range(80):
        images, errors = patches()
        mask = torch.rand_like(errors) < 0.5
        loss = teacher.loss(teacher(images, (6, 8)), errors * mask, mask, valid)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    images, errors = patches()
    with torch.no_grad():
        found = teacher(images, (6, 8))
    for predicted, true in zip(found.flatten(0, 2), errors.flatten(0, 2), strict=True):
        correlation = torch.corrcoef(torch.stack([ranks(predicted), ranks(true)]))[0, 1]
        assert correlation > 0.9


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            dict(encoder=SimpleNamespace(mask_patch_size=14)),
            "multiple of 4 pixels, not mask_patch_size=14",
        ),
        (dict(encoder=PATCHES16, channels=0), "channels=0 .* must be at least 1"),
        (dict(encoder=PATCHES16, depth=0), "depth=0 must be at least 1"),
        (dict(encoder=PATCHES16, loss_weight=0.0), r"loss_weight=0\.0 above 0"),
    ],
)
def test_mistakes_are_named(arguments: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        LossPredictor(**arguments)
