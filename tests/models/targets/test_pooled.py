import numpy as np
import pytest
import torch

from drivemim.models import PooledPixels
from drivemim.models.patches import PatchMask


@pytest.fixture
def images() -> torch.Tensor:
    return torch.randn(1, 1, 2, 3, 8, 12, generator=torch.Generator().manual_seed(0))


@pytest.fixture
def mask() -> PatchMask:
    """Patches of 4x4 pixels; 2 of 6 are hidden in each of two frames."""
    mask = torch.zeros(1, 1, 2, 2, 3, dtype=torch.bool)
    mask[0, 0, 0, 0, 1] = mask[0, 0, 0, 1, 2] = True
    mask[0, 0, 1, 0, 0] = mask[0, 0, 1, 1, 0] = True
    return PatchMask.from_tensor(mask, 4)


def test_squares_by_hand(images: torch.Tensor, mask: PatchMask) -> None:
    target = PooledPixels(size=2)
    assert target.channels(4) == 12
    values = target(images, mask)
    assert values.shape == (1, 1, 2, 2, 12)
    # The second hidden patch of the first frame: rows 4 to 7, columns 8 to 11.
    patch = images[0, 0, 0, :, 4:8, 8:12].numpy()
    expected = [
        patch[channel, row : row + 2, column : column + 2].mean()
        for channel in range(3)
        for row in (0, 2)
        for column in (0, 2)
    ]
    np.testing.assert_allclose(values[0, 0, 0, 1], expected, rtol=1e-5, atol=1e-6)


def test_one_square_is_the_mean_and_as_many_as_pixels_are_the_pixels(
    images: torch.Tensor, mask: PatchMask
) -> None:
    mean = PooledPixels(size=1)(images, mask)[0, 0, 1, 1]
    torch.testing.assert_close(mean, images[0, 0, 1, :, 4:8, 0:4].mean(dim=(1, 2)))
    pixels = PooledPixels(size=4)(images, mask)[0, 0, 1, 1]
    assert pixels.equal(images[0, 0, 1, :, 4:8, 0:4].flatten())


def test_every_pixel_of_a_square_is_drawn_as_its_mean(
    images: torch.Tensor, mask: PatchMask
) -> None:
    target = PooledPixels(size=2)
    pixels = target.to_pixels(target(images, mask), images, mask)
    assert pixels.shape == (1, 1, 2, 2, 48)
    patch = pixels[0, 0, 0, 0].reshape(3, 4, 4)
    truth = images[0, 0, 0, :, 0:4, 4:8]
    for row in (0, 2):
        for column in (0, 2):
            square = (slice(None), slice(row, row + 2), slice(column, column + 2))
            means = truth[square].mean(dim=(1, 2), keepdim=True).expand(3, 2, 2)
            torch.testing.assert_close(patch[square], means)


def test_loss_by_hand(images: torch.Tensor, mask: PatchMask) -> None:
    target = PooledPixels(size=1)
    values = target(images, mask)
    loss = target.loss(values + torch.tensor([1.0, 2.0, 3.0]), values, torch.ones(1, 1, 2).bool())
    assert loss.item() == pytest.approx(14 / 3, rel=1e-5)


def test_wrong_sizes_are_refused() -> None:
    with pytest.raises(ValueError, match="size=0 must be at least 1"):
        PooledPixels(size=0)
    with pytest.raises(ValueError, match="size=3 must divide mask_patch_size=16"):
        PooledPixels(size=3).channels(16)
