import numpy as np
import pytest
import torch
from mmengine import dist

from drivemim.models import NormalizedPixels
from drivemim.models.patches import PatchMask
from drivemim.models.targets.reconstruction_target import global_mean


@pytest.fixture
def images() -> torch.Tensor:
    return torch.randn(1, 1, 2, 3, 4, 6, generator=torch.Generator().manual_seed(0)).double() * 2


@pytest.fixture
def mask() -> PatchMask:
    """Patches of 2x2 pixels; 2 of 6 are hidden in each of two frames."""
    mask = torch.zeros(1, 1, 2, 2, 3, dtype=torch.bool)
    mask[0, 0, 0, 0, 1] = mask[0, 0, 0, 1, 2] = True
    mask[0, 0, 1, 0, 0] = mask[0, 0, 1, 1, 0] = True
    return PatchMask.from_tensor(mask, 2)


def patches_by_hand(images: torch.Tensor) -> np.ndarray:
    frames = images.numpy()[0, 0]
    return np.array(
        [
            [frames[0, :, 0:2, 2:4].ravel(), frames[0, :, 2:4, 4:6].ravel()],
            [frames[1, :, 0:2, 0:2].ravel(), frames[1, :, 2:4, 0:2].ravel()],
        ]
    )


def test_target_and_loss_by_hand(images: torch.Tensor, mask: PatchMask) -> None:
    target = NormalizedPixels()
    assert target.channels(2) == 12
    values = target(images, mask)
    patches = patches_by_hand(images)
    expected = (patches - patches.mean(-1, keepdims=True)) / np.sqrt(
        patches.var(-1, keepdims=True) + 1e-6
    )
    np.testing.assert_allclose(values[0, 0], expected)

    predictions = torch.randn(1, 1, 2, 2, 12, generator=torch.Generator().manual_seed(1)).double()
    valid = torch.tensor([[[True, True]]])
    errors = ((predictions.numpy()[0, 0] - expected) ** 2).mean(-1)
    # Predictions are compared in single precision.
    loss = target.loss(predictions, values, valid)
    np.testing.assert_allclose(loss, errors.mean(), rtol=1e-6)
    np.testing.assert_allclose(target.errors(predictions, values)[0, 0], errors, rtol=1e-6)

    one = target.loss(predictions, values, torch.tensor([[[False, True]]]))
    np.testing.assert_allclose(one, errors[1].mean(), rtol=1e-6)

    weights = torch.tensor([[[[1.0, 0.0], [2.0, 5.0]]]]).double()
    weighted = target.loss(predictions, values, valid, weights)
    by_hand = (errors[0, 0] + 2 * errors[1, 0] + 5 * errors[1, 1]) / 8
    np.testing.assert_allclose(weighted, by_hand, rtol=1e-6)


def test_predicting_each_patchs_mean_has_a_loss_of_one(
    images: torch.Tensor, mask: PatchMask
) -> None:
    target = NormalizedPixels()
    values = target(images, mask)
    loss = target.loss(torch.zeros_like(values), values, torch.ones(1, 1, 2, dtype=torch.bool))
    assert loss.item() == pytest.approx(1.0, abs=1e-5)


def test_a_flat_patch_is_zero_not_infinite(mask: PatchMask) -> None:
    values = NormalizedPixels()(torch.full((1, 1, 2, 3, 4, 6), 3.25), mask)
    assert (values == 0).all()


def test_back_to_pixels(images: torch.Tensor, mask: PatchMask) -> None:
    target = NormalizedPixels()
    pixels = target.to_pixels(target(images, mask), images, mask)
    np.testing.assert_allclose(pixels[0, 0], patches_by_hand(images), atol=1e-5)


@pytest.mark.parametrize("bad", [torch.nan, torch.inf])
def test_invalid_frames_count_for_nothing(
    images: torch.Tensor, mask: PatchMask, bad: float
) -> None:
    target = NormalizedPixels()
    values = target(images, mask)
    predictions = torch.zeros_like(values)
    predictions[0, 0, 0] = bad
    predictions.requires_grad_()
    loss = target.loss(predictions, values, torch.tensor([[[False, True]]]))
    assert loss.item() == pytest.approx(1.0, abs=1e-5)


def test_nothing_valid_is_zero_with_zero_gradients(images: torch.Tensor, mask: PatchMask) -> None:
    target = NormalizedPixels()
    predictions = torch.randn(1, 1, 2, 2, 12, requires_grad=True)
    loss = target.loss(predictions, target(images, mask), torch.zeros(1, 1, 2, dtype=torch.bool))
    assert loss.item() == 0.0
    loss.backward()
    assert predictions.grad is not None
    assert (predictions.grad == 0).all()


def test_two_processes_make_one_mean(monkeypatch: pytest.MonkeyPatch) -> None:
    errors = [torch.tensor([1.0, 2.0, 3.0]), torch.tensor([10.0])]
    weights = [torch.tensor([1.0, 1.0, 0.0]), torch.tensor([1.0])]
    sums = [torch.stack([(e * w).sum(), w.sum()]) for e, w in zip(errors, weights, strict=True)]
    monkeypatch.setattr(dist, "is_distributed", lambda: True)

    def all_reduce(tensor: torch.Tensor, op: str) -> None:
        assert op == "mean"
        tensor.copy_(torch.stack(sums).mean(dim=0))

    monkeypatch.setattr(dist, "all_reduce", all_reduce)
    gradients = []
    for error, weight in zip(errors, weights, strict=True):
        factor = torch.ones((), requires_grad=True)
        loss = global_mean(error * factor, weight)
        assert loss.item() == pytest.approx((1 + 2 + 10) / 3)
        loss.backward()
        assert factor.grad is not None
        gradients.append(factor.grad.item())
    # What distributed training applies is the average over the processes.
    assert sum(gradients) / 2 == pytest.approx((1 + 2 + 10) / 3)
    assert gradients == pytest.approx([3 / 1.5, 10 / 1.5])


@pytest.mark.parametrize("eps", [0, -1e-6, float("nan")])
def test_flat_patches_need_something_added_to_their_variance(eps: float) -> None:
    with pytest.raises(ValueError, match=f"eps={eps} must be positive"):
        NormalizedPixels(eps=eps)
