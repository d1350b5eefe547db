"""Trailers, construction vehicles and motorcycles fill their boxes exactly, from every side."""

import numpy as np
import pytest

from drivemim.town.composite_vehicles import COMPOSITE_VEHICLES, build_composite_vehicle
from drivemim.town.motorcycles import build_motorcycle
from drivemim.town.quads import TextureBank
from drivemim.town.render import render
from drivemim.town.rig import Camera, yaw_matrix
from drivemim.town.town_config import DAY

DISTANCE, PIXELS = 400.0, 40.0  # metres to the camera; pixels per metre at the box's middle
AHEAD = np.array([[0.0, 0, 1], [-1, 0, 0], [0, -1, 0]])  # a camera that looks along x


def silhouette(quads, bank, size_wlh, yaw):
    """Covered pixels in a horizontal view; ``yaw`` in radians, 0 views the rear."""
    rotation = yaw_matrix(yaw) @ AHEAD
    middle = np.array([0.0, 0.0, size_wlh[2] / 2])
    position = middle - rotation[:, 2] * DISTANCE
    matrix = np.array([[DISTANCE * PIXELS, 0, 200.5], [0, DISTANCE * PIXELS, 150.5], [0, 0, 1.0]])
    camera = Camera("TEST", matrix, np.zeros(3), rotation, (301, 401), 0)
    return render(quads, bank, None, camera, (position, rotation)).instance_ids_HW == 1


def build(kind, bank, seed=0):
    generator = np.random.default_rng(seed)
    if kind in COMPOSITE_VEHICLES:
        size = tuple(float(np.mean(pair)) for pair in COMPOSITE_VEHICLES[kind].size_wlh)
        return build_composite_vehicle(
            COMPOSITE_VEHICLES[kind], size, 1, generator, bank, DAY
        ), size
    has_rider = kind == "motorcyclist"
    size = (0.8, 2.1, 1.5 if has_rider else 1.15)
    return build_motorcycle(size, 1, has_rider, generator, bank, DAY, 192), size


@pytest.mark.parametrize("kind", [*COMPOSITE_VEHICLES, "motorcycle", "motorcyclist"])
@pytest.mark.parametrize("quarter", range(4))
def test_the_outline_touches_every_side_of_the_box(kind, quarter):
    bank = TextureBank()
    quads, size = build(kind, bank)
    covered = silhouette(quads, bank, size, quarter * np.pi / 2)
    rows, columns = np.nonzero(covered)
    wide = size[0] if quarter % 2 == 0 else size[1]
    # The near half of a box is up to 3.5 m of 400 m closer than its middle: 1 % larger.
    slack = 2.0 + 0.01 * PIXELS * max(wide, size[2])
    tight = 4.0 if "motorcycl" in kind else 2.0  # round tips of bars and a helmet
    for found, middle, extent in ((columns, 200, wide), (rows, 150, size[2])):
        low, high = middle - extent * PIXELS / 2, middle + extent * PIXELS / 2
        assert low - slack < found.min() < low + tight
        assert high - tight < found.max() < high + slack


@pytest.mark.parametrize("kind", [*COMPOSITE_VEHICLES, "motorcycle"])
def test_both_sides_show_the_same_outline_mirrored(kind):
    bank = TextureBank()
    quads, size = build(kind, bank)
    right = silhouette(quads, bank, size, np.pi / 2)
    left = silhouette(quads, bank, size, -np.pi / 2)
    both = (right & left[:, ::-1]).sum() / (right | left[:, ::-1]).sum()
    assert both > 0.93


@pytest.mark.parametrize("kind", COMPOSITE_VEHICLES)
def test_every_quad_lies_in_the_box(kind):
    quads, size = build(kind, TextureBank())
    corners = quads.corners()
    assert (np.abs(corners[..., 0]) <= size[1] / 2 + 1e-9).all()
    assert (np.abs(corners[..., 1]) <= size[0] / 2 + 1e-9).all()
    assert (corners[..., 2] >= -1e-9).all()
    assert (corners[..., 2] <= size[2] + 1e-9).all()
    assert (np.abs((quads.right_M3 * quads.down_M3).sum(-1)) < 1e-9).all()


@pytest.mark.parametrize("kind", COMPOSITE_VEHICLES)
def test_there_are_quads_on_every_side_but_below(kind):
    bank = TextureBank()
    quads, _ = build(kind, bank)
    outward = -np.cross(quads.right_M3, quads.down_M3)
    assert (outward[:, 2] > -0.81 * np.linalg.norm(outward, axis=1)).all()  # no undersides
    for axis, sign in ((0, 1), (0, -1), (1, 1), (1, -1), (2, 1)):
        assert (sign * outward[:, axis] > 0).any(), (axis, sign)
