"""The ten numbers of a location: by hand, and encoding followed by decoding."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from drivemim.errors import ConfigError
from drivemim.models.heads import Mono3DCoder, Objects3D

CAR, PERSON = 0, 1
SIZES = [[2.0, 4.0, 1.5], [0.5, 0.5, 1.8]]
CAMERA = torch.tensor([[100.0, 0.0, 50.0], [0.0, 100.0, 40.0], [0.0, 0.0, 1.0]]).double()
CODER = Mono3DCoder(class_sizes=SIZES)


def objects_of(*rows):
    """Rows of center, size, yaw and velocity."""
    columns = [torch.tensor(column, dtype=torch.float64) for column in zip(*rows, strict=True)]
    return Objects3D(*columns)


def where(points, strides, labels=None, camera=CAMERA):
    return dict(
        labels_M=torch.tensor(labels or [CAR] * len(points)),
        points_M2=torch.tensor(points, dtype=torch.float64),
        strides_M=torch.tensor(strides).double(),
        camera_matrix_33=camera,
    )


def test_a_code_by_hand():
    yaw = math.atan2(1, 10) + math.pi / 6  # 30 degrees to the line of sight
    car = objects_of(([1.0, 0.0, 10.0], [2.0, 8.0, 1.5], yaw, [3.0, -4.0]))
    codes, directions = CODER.encode(car, **where([[52.0, 44.0]], [8.0]))
    # Seen at (50 + 100 / 10, 40); a stride covers 10 * 8 / 100 = 0.8 m; twice as long as usual.
    expected = [1.0, -0.5, math.log(0.8 / 0.5), 0.0, math.log(2), 0.0]
    expected += [math.sin(math.pi / 3), math.cos(math.pi / 3), 3.0, -4.0]
    torch.testing.assert_close(codes, torch.tensor([expected]).double())
    assert codes.shape[1] == 10
    back = CODER.decode(codes, directions, **where([[52.0, 44.0]], [8.0]))
    torch.testing.assert_close(back.yaws_M, car.yaws_M)


def test_the_direction_distinguishes_front_and_back():
    yaws = [1.0, 1.0 - math.pi]
    cars = objects_of(*[([0.0, 0.0, 10.0], [2.0, 4.0, 1.5], yaw, [0.0, 0.0]) for yaw in yaws])
    codes, directions = CODER.encode(cars, **where([[50.0, 40.0]] * 2, [8.0] * 2))
    torch.testing.assert_close(codes[0], codes[1])
    assert sorted(directions.tolist()) == [0.0, 1.0]


def test_objects_that_look_the_same_have_the_same_code():
    """A car, and the same at twice the depth for twice the focal length, or half for a coarser map.

    The stride counts in pixels, so the offsets agree where the point does in strides.
    """
    far = CAMERA.clone()
    far[0, 0] = far[1, 1] = 200.0
    at = [([0.0, 0.0, depth], [2.0, 4.0, 1.5], 0.3, [0.0, 0.0]) for depth in (10.0, 20.0, 5.0)]
    plain, _ = CODER.encode(objects_of(at[0]), **where([[50.0, 40.0]], [8.0]))
    longer, _ = CODER.encode(objects_of(at[1]), **where([[50.0, 40.0]], [8.0], camera=far))
    coarser, _ = CODER.encode(objects_of(at[2]), **where([[50.0, 40.0]], [16.0]))
    torch.testing.assert_close(plain, longer)
    torch.testing.assert_close(plain, coarser)


coordinate = st.floats(-40, 40)
metres = st.floats(0.2, 20)
# Multiples of an eighth turn too: edges of the direction and of the range.
angle = st.one_of(
    st.floats(-math.pi + 1e-9, math.pi), st.integers(-3, 4).map(lambda n: n * math.pi / 4)
)
row = st.tuples(
    st.tuples(coordinate, coordinate, st.floats(0.5, 80)),
    st.tuples(metres, metres, metres),
    angle,
    st.tuples(coordinate, coordinate),
    st.tuples(st.floats(0, 800), st.floats(0, 448)),
    st.sampled_from([8.0, 16.0, 128.0]),
    st.sampled_from([CAR, PERSON]),
)


@given(st.lists(row, min_size=1, max_size=5), st.sampled_from([torch.float32, torch.float64]))
def test_decoding_undoes_encoding(rows, kind):
    *columns, points, strides, labels = zip(*rows, strict=True)
    objects = Objects3D(*(torch.tensor(column, dtype=kind) for column in columns))
    place = where(list(points), list(strides), list(labels))
    place = {key: value.to(kind) if value.is_floating_point() else value
             for key, value in place.items()}  # fmt: skip
    codes, directions = CODER.encode(objects, **place)
    back = CODER.decode(codes, directions, **place)
    close = dict(atol=1e-8, rtol=1e-8) if kind == torch.float64 else dict(atol=2e-3, rtol=1e-4)
    torch.testing.assert_close(back.centers_M3, objects.centers_M3, **close)
    torch.testing.assert_close(back.sizes_M3, objects.sizes_M3, **close)
    torch.testing.assert_close(back.velocities_M2, objects.velocities_M2, **close)
    turned = (back.yaws_M - objects.yaws_M + math.pi).remainder(2 * math.pi) - math.pi
    torch.testing.assert_close(turned, torch.zeros_like(turned), **close)
    assert (back.yaws_M.abs() <= math.pi + 1e-6).all()


def test_a_mirrored_object_has_a_mirrored_code():
    car = ([3.0, 1.0, 12.0], [2.0, 4.0, 1.5], 0.4, [2.0, 5.0])
    mirrored = ([-3.0, 1.0, 12.0], [2.0, 4.0, 1.5], math.pi - 0.4, [-2.0, 5.0])
    camera = CAMERA.clone()
    camera[0, 2] = 96 - 50.0  # an image 96 pixels wide
    codes, _ = CODER.encode(objects_of(car), **where([[60.0, 44.0]], [8.0]))
    turned, _ = CODER.encode(
        objects_of(mirrored), **where([[96 - 60.0, 44.0]], [8.0], camera=camera)
    )
    signs = torch.tensor([-1, 1, 1, 1, 1, 1, -1, 1, -1, 1]).double()
    torch.testing.assert_close(turned, codes * signs)


def test_an_unknown_velocity_stays_unknown():
    car = objects_of(([0.0, 0.0, 9.0], [2.0, 4.0, 1.5], 0.0, [math.nan, math.nan]))
    codes, _ = CODER.encode(car, **where([[50.0, 40.0]], [8.0]))
    assert codes[0, 8:].isnan().all()
    assert codes[0, :8].isfinite().all()


def test_extreme_codes_decode_to_finite_objects():
    codes = torch.tensor([[1e3] * 10, [-1e3] * 10]).double()
    wild = CODER.decode(codes, torch.tensor([0.3, 0.9]), **where([[4.0, 4.0]] * 2, [8.0] * 2))
    for each in (wild.centers_M3, wild.sizes_M3, wild.yaws_M):
        assert each.isfinite().all()
    assert (wild.centers_M3[:, 2] > 0).all()
    assert (wild.sizes_M3 > 0).all()


def test_no_objects():
    nobody = Objects3D(torch.zeros(0, 3), torch.zeros(0, 3), torch.zeros(0), torch.zeros(0, 2))
    place = dict(labels_M=torch.zeros(0, dtype=torch.int64), points_M2=torch.zeros(0, 2))
    place |= dict(strides_M=torch.zeros(0), camera_matrix_33=CAMERA.float())
    codes, directions = CODER.encode(nobody, **place)
    assert codes.shape == (0, 10)
    assert CODER.decode(codes, directions, **place).centers_M3.shape == (0, 3)


@pytest.mark.parametrize("sizes", [[], [[1.0, 2.0]], [[1.0, 0.0, 2.0]]])
def test_wrong_class_sizes_are_refused(sizes):
    with pytest.raises(ConfigError, match="class_sizes"):
        Mono3DCoder(class_sizes=sizes)


def test_metres_per_stride_must_be_positive():
    with pytest.raises(ConfigError, match="metres_per_stride=0"):
        Mono3DCoder(class_sizes=SIZES, metres_per_stride=0.0)
