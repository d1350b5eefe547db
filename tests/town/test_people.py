"""Drawn people and cycles are centred on their quads."""

import numpy as np
import pytest

from drivemim.town.motorcycles import build_motorcycle
from drivemim.town.people import FigureCanvas, Limb, Outfit, draw_rider
from drivemim.town.quads import TextureBank
from drivemim.town.town_config import DAY


def middle(alpha_HW):
    """Centre of the opaque pixels, from the left and upper edges: column, row."""
    rows, columns = np.nonzero(alpha_HW)
    return columns.mean() + 0.5, rows.mean() + 0.5


def test_limbs_are_where_they_should_be_on_average():
    # OpenCV fills whole pixels, so one limb may be off by half of one.
    shifts = []
    for height in (64, 80, 101, 192):
        for up in np.linspace(0.3, 0.7, 23):
            for left in np.linspace(-0.1, 0.1, 23):
                canvas = FigureCanvas(0.0, 0.8, height)
                position = np.array([0, left, up])
                canvas.draw([Limb(position, position, 0.11, (9, 9, 9))])
                expected = canvas.width / 2 + left * height, (1 - up) * height
                shifts.append(np.subtract(middle(canvas.alpha), expected))
    np.testing.assert_allclose(np.mean(shifts, axis=0), 0, atol=0.1)


@pytest.mark.parametrize("view", [0.0, np.pi])
def test_a_rider_seen_from_the_front_or_from_behind_is_in_the_middle(view):
    alpha = draw_rider(Outfit.sample(np.random.default_rng(0)), view, 0.4, 192)[1]
    assert middle(alpha)[0] == pytest.approx(alpha.shape[1] / 2, abs=0.2)
    mirrored = alpha[:, ::-1]
    assert (alpha > 0)[mirrored > 0].mean() > 0.97


def test_motorcycles_seen_from_the_front_or_from_behind_are_in_the_middle_on_average():
    shifts = []
    for detail in range(100, 193, 4):
        bank, generator = TextureBank(), np.random.default_rng(0)
        quads = build_motorcycle((0.8, 2.1, 1.15), 1, False, generator, bank, DAY, detail)
        for texture in quads.texture_M[1:]:
            alpha = bank[int(texture)].levels[0][..., 3]
            shifts.append(middle(alpha)[0] - alpha.shape[1] / 2)
    # OpenCV moves a shape whose two edges lie in the middle of pixels by half a pixel.
    assert np.mean(shifts) == pytest.approx(0, abs=0.25)
