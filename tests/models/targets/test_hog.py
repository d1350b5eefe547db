"""Histograms of oriented gradients, with numbers by hand."""

from math import cos, pi, sin

import numpy as np
import pytest
import torch

from drivemim.models import OrientedGradients
from drivemim.models.patches import PatchMask


def ramp(angle: float, slope: float = 0.5) -> torch.Tensor:
    """An image, (1, 3, 16, 16), whose brightness climbs in one direction."""
    y, x = torch.meshgrid(torch.arange(16.0), torch.arange(16.0), indexing="ij")
    return (slope * (cos(angle) * x + sin(angle) * y)).expand(1, 3, 16, 16)


def inner(histograms: torch.Tensor) -> np.ndarray:
    """Histogram of the cell at (1, 1), none of whose gradients touches the border."""
    return histograms[0, :, 1, 1].numpy()


def test_a_ramp_votes_for_its_direction() -> None:
    target = OrientedGradients(size=4, bins=4, eps=1e-6)  # bins at 0, 45, 90 and 135 degrees
    for angle, expected in (
        (0.0, [1, 0, 0, 0]),
        (pi / 2, [0, 0, 1, 0]),
        (3 * pi / 2, [0, 0, 1, 0]),  # opposite directions are one orientation
        (-pi / 4, [0, 0, 0, 1]),
    ):
        np.testing.assert_allclose(inner(target.histograms(ramp(angle))), expected, atol=1e-3)


def test_the_strongest_colour_votes() -> None:
    target = OrientedGradients(size=4, bins=4, eps=1e-6)
    image = ramp(0.0).clone()
    image[:, 1] = ramp(pi / 2, slope=0.6)[:, 1]
    np.testing.assert_allclose(inner(target.histograms(image)), [0, 0, 1, 0], atol=1e-3)


def test_between_two_bins_the_vote_is_shared() -> None:
    target = OrientedGradients(size=4, bins=4, eps=1e-6)
    # 3/4 of the way from 135 to 180 degrees, which is bin 0: fractions 1/4 and 3/4, then length 1.
    fraction = np.array([0.75, 0, 0, 0.25]) / np.hypot(0.75, 0.25)
    np.testing.assert_allclose(inner(target.histograms(ramp(pi * 15 / 16))), fraction, atol=1e-3)


def test_faint_edges_fade() -> None:
    target = OrientedGradients(size=4, bins=4, eps=0.5)
    # One bin of 0.5 against eps 0.5: 0.5 / sqrt(0.5); a flat image has none at all.
    assert inner(target.histograms(ramp(0.0)))[0] == pytest.approx(0.5 / 0.5**0.5, rel=1e-5)
    assert target.histograms(torch.ones(1, 3, 8, 8)).abs().max() == 0


def test_targets_are_of_the_hidden_patches() -> None:
    target = OrientedGradients(size=4, bins=4)
    image = torch.randn(1, 1, 1, 3, 16, 24, generator=torch.Generator().manual_seed(0))
    mask = torch.zeros(1, 1, 1, 2, 3, dtype=torch.bool)
    mask[..., 1, 2] = True
    values = target(image, PatchMask.from_tensor(mask, 8))
    assert values.shape == (1, 1, 1, 1, target.channels(8))
    whole = target.histograms(image[0, 0])[0]  # (4, 4, 6)
    np.testing.assert_array_equal(values.flatten(), whole[:, 2:4, 4:6].flatten())


def test_pictures_have_a_stroke_along_the_edge() -> None:
    target = OrientedGradients(size=8, bins=2)
    prediction = torch.zeros(1, 1, 1, 1, 2, 1, 1)
    prediction[..., 0, 0, 0] = 1.0  # brightness changes from left to right: an upright edge
    mask = PatchMask.from_tensor(torch.ones(1, 1, 1, 1, 1, dtype=torch.bool), 8)
    pixels = target.to_pixels(prediction.flatten(4), torch.zeros(1, 1, 1, 3, 8, 8), mask)
    picture = pixels.reshape(3, 8, 8)[0]
    assert torch.equal(picture[0], picture[7])
    assert picture[4, 4] > 10 * picture[4, 0]
    # Brightness changes from the upper left to the lower right: an edge between the other corners.
    target = OrientedGradients(size=8, bins=4)
    prediction = torch.tensor([0.0, 1, 0, 0]).reshape(1, 1, 1, 1, 4)
    pixels = target.to_pixels(prediction, torch.zeros(1, 1, 1, 3, 8, 8), mask)
    picture = pixels.reshape(3, 8, 8)[0]
    assert min(picture[0, 7], picture[7, 0]) > 10 * max(picture[0, 0], picture[7, 7])


def test_wrong_settings_are_refused() -> None:
    with pytest.raises(ValueError, match="bins=1 at least 2"):
        OrientedGradients(bins=1)
    with pytest.raises(ValueError, match="size=8 must divide mask_patch_size=12"):
        OrientedGradients().channels(12)
