"""Assignment of objects to locations, on small grids."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from drivemim.models.heads import Mono3DCoder, Objects3D
from drivemim.models.heads.mono3d_targets import (
    LocationAssigner,
    Locations,
    image_targets,
)

# A point (x, y, z) is seen at (100 x / z, 100 y / z).
CAMERA = torch.diag(torch.tensor([100.0, 100.0, 1.0]))
CODER = Mono3DCoder(class_sizes=[[2.0, 4.0, 1.5], [0.5, 0.5, 1.8]])


def grid(rows, columns, stride, level=0):
    y, x = torch.meshgrid(torch.arange(rows), torch.arange(columns), indexing="ij")
    points = (torch.stack([x, y], dim=-1).reshape(-1, 2) + 0.5) * stride
    count = len(points)
    return Locations(points, torch.full((count,), stride), torch.full((count,), level))


def joined(*grids):
    return Locations(*(torch.cat([getattr(each, name) for each in grids])
                       for name in ("points_L2", "strides_L", "levels_L")))  # fmt: skip


def assigner(**others):
    settings = dict(level_limits=(), center_radius=1.0, min_depth=1.0, centerness_decay=2.5)
    return LocationAssigner(**{**settings, **others})


def at(*pixels_and_depths):
    """Centres that are seen at these pixels and depths."""
    return torch.tensor([[u * z / 100, v * z / 100, z] for u, v, z in pixels_and_depths])


def assign(locations, centers, boxes, **others):
    found, _ = assigner(**others).assign(
        locations, centers, torch.tensor(boxes).reshape(-1, 4), CAMERA
    )
    return found


FOUR_BY_FOUR = grid(4, 4, 8.0)
WHOLE = [0.0, 0.0, 32.0, 32.0]


def test_locations_near_the_centre_find_an_object():
    found = assign(FOUR_BY_FOUR, at((12.0, 12.0, 9.0)), [WHOLE], center_radius=1.1)
    assert found.reshape(4, 4).tolist() == [
        [-1, 0, -1, -1],
        [0, 0, 0, -1],
        [-1, 0, -1, -1],
        [-1, -1, -1, -1],
    ]


def test_a_tiny_object_between_locations_has_the_nearest():
    found = assign(FOUR_BY_FOUR, at((15.0, 14.0, 9.0)), [WHOLE], center_radius=0.1)
    assert (found >= 0).nonzero().flatten().tolist() == [5]  # at (12, 12)


def test_the_longer_side_chooses_the_level():
    pyramid = joined(grid(4, 4, 8.0), grid(2, 2, 16.0, level=1), grid(1, 1, 32.0, level=2))
    centers = at((16.0, 16.0, 9.0), (16.0, 16.0, 10.0), (16.0, 16.0, 11.0))
    boxes = [[0.0, 8.0, 10.0, 20.0], [0.0, 0.0, 12.1, 3.0], [0.0, 0.0, 5.0, 24.1]]
    found = assign(pyramid, centers, boxes, level_limits=(12.0, 24.0))
    levels = [set(pyramid.levels_L[found == row].tolist()) for row in range(3)]
    assert levels == [{0}, {1}, {2}]


def test_a_location_goes_to_the_nearest_centre():
    found = assign(FOUR_BY_FOUR, at((10.0, 12.0, 9.0), (22.0, 12.0, 5.0)), [WHOLE] * 2)
    assert found.reshape(4, 4)[1].tolist() == [0, 0, 1, 1]


@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
def test_of_equally_near_centres_the_nearer_to_the_camera_has_it(order):
    """Both are seen exactly between two locations; one of them keeps what is left."""
    centers = at((16.0, 12.0, 20.0), (16.0, 12.0, 5.0))[list(order)]
    near = order.index(1)
    found = assign(FOUR_BY_FOUR, centers, [WHOLE] * 2).reshape(4, 4)
    assert found[1].tolist() == [-1, near, 1 - near, -1]


def test_every_object_keeps_a_location():
    """Three see their centre at one location: two take the next nearest."""
    centers = at((12.0, 12.0, 9.0), (12.5, 12.0, 8.0), (12.0, 13.0, 7.0))
    found = assign(FOUR_BY_FOUR, centers, [WHOLE] * 3, center_radius=0.4)
    assert found[5] == 0
    assert found[6] == 1  # to the right
    assert found[9] == 2  # below
    assert (found >= 0).sum() == 3


def test_more_objects_than_locations_fill_them_all():
    centers = at(*[(4.0 + each, 4.0, 5.0 + each) for each in range(4)])
    found = assign(grid(1, 2, 8.0), centers, [WHOLE] * 4)
    assert sorted(found.tolist()) == [0, 3]


def test_a_full_level_lends_no_locations_to_another():
    pyramid = joined(grid(1, 1, 8.0), grid(1, 4, 16.0, level=1))
    small = [[0.0, 0.0, 8.0, 8.0]] * 2
    found = assign(pyramid, at((4.0, 4.0, 5.0), (4.0, 4.0, 6.0)), small, level_limits=(12.0,))
    assert found.tolist() == [0, -1, -1, -1, -1]


@given(
    st.lists(st.tuples(*[st.integers(0, 32)] * 2), min_size=1, max_size=16),
    st.randoms(use_true_random=False),
)
def test_every_object_keeps_one_whatever_their_order(pixels, random):
    depths = [5.0 + 0.5 * number for number in range(len(pixels))]
    centers = at(*[(float(u), float(v), z) for (u, v), z in zip(pixels, depths, strict=True)])
    found = assign(FOUR_BY_FOUR, centers, [WHOLE] * len(pixels))
    assert set(found.tolist()) - {-1} == set(range(len(pixels)))
    order = random.sample(range(len(pixels)), len(pixels))
    shuffled = assign(FOUR_BY_FOUR, centers[order], [WHOLE] * len(pixels))
    assert [order[row] if row >= 0 else -1 for row in shuffled.tolist()] == found.tolist()


def targets(centers, boxes, ignored=(), locations=FOUR_BY_FOUR, **others):
    count = len(centers)
    return image_targets(
        assigner(**others),
        CODER,
        locations,
        objects=Objects3D(centers, torch.ones(count, 3), torch.zeros(count), torch.zeros(count, 2)),
        boxes_M4=torch.tensor(boxes).reshape(-1, 4),
        labels_M=torch.ones(count, dtype=torch.int64),
        attributes_M=torch.arange(count) + 3,
        ignored_boxes=torch.tensor(ignored).reshape(-1, 4),
        camera_matrix_33=CAMERA,
    )


def test_targets_of_one_object_by_hand():
    found = targets(at((14.0, 12.0, 10.0)), [WHOLE], center_radius=0.5)
    assert found.positives_P.tolist() == [5]
    assert found.labels_L.tolist() == [2] * 5 + [1] + [2] * 10
    assert found.counted_L.all()
    assert found.attributes_P.tolist() == [3]
    # A quarter of a stride to the right of the location at (12, 12).
    torch.testing.assert_close(found.codes_P10[0, :2], torch.tensor([0.25, 0.0]))
    torch.testing.assert_close(found.centerness_P, torch.tensor([-2.5 / 16]).exp())


def test_a_cut_off_object_is_found_at_the_edge_and_points_to_its_centre():
    found = targets(at((-20.0, 12.0, 10.0)), [[0.0, 4.0, 9.0, 20.0]], center_radius=0.6)
    assert found.positives_P.tolist() == [4]  # at (4, 12)
    torch.testing.assert_close(found.codes_P10[0, :2], torch.tensor([-3.0, 0.0]))
    # The centre-ness is about the point at the edge, half a stride away.
    torch.testing.assert_close(found.centerness_P, torch.tensor([-2.5 / 4]).exp())


@pytest.mark.parametrize("depth", [-3.0, 0.9, float("nan")])
def test_a_centre_that_cannot_be_projected_is_ignored(depth):
    centers = torch.cat([torch.tensor([[0.1, 0.1, depth]]), at((28.0, 28.0, 9.0))])
    found = targets(centers, [[0.0, 0.0, 16.0, 8.0], WHOLE], center_radius=0.5)
    assert found.objects_P.tolist() == [1]
    assert found.attributes_P.tolist() == [4]
    assert (~found.counted_L).nonzero().flatten().tolist() == [0, 1]


def test_ignored_places_do_not_count_unless_an_object_is_there():
    found = targets(at((4.0, 4.0, 9.0)), [WHOLE], [[0.0, 0.0, 16.0, 8.0]], center_radius=0.5)
    assert found.positives_P.tolist() == [0]
    assert (~found.counted_L).nonzero().flatten().tolist() == [1]


def test_an_empty_image():
    found = targets(torch.zeros(0, 3), [])
    assert found.counted_L.all()
    assert (found.labels_L == 2).all()
    assert found.codes_P10.shape == (0, 10)
