import numpy as np
import pytest

from drivemim.datasets.augment import AugmentSettings, TrackAugmentation, move_boxes
from drivemim.errors import ConfigError

STILL = {"flip": 0.0, "crop": (1.0, 1.0), "colour": 0.0, "blur": 0.0, "noise": 0.0}


def _augmentation(size, **settings):
    return TrackAugmentation(size, AugmentSettings.parse({**STILL, **settings}))


def _spot(x, y, height=60, width=100, radius=3):
    """Two equal frames with a bright square whose centre is at (x, y), pixel i = [i, i + 1]."""
    image = np.zeros((height, width, 3), np.uint8)
    image[y - radius : y + radius, x - radius : x + radius] = 255
    return np.stack([image, image])


def _centre(image):
    """Centre of brightness, pixel i = [i, i + 1]."""
    weight = image.astype(float).sum(axis=2)
    ys, xs = np.mgrid[: image.shape[0], : image.shape[1]] + 0.5
    return np.array([(weight * xs).sum(), (weight * ys).sum()]) / weight.sum()


def test_without_settings_it_only_resizes():
    images, matrix = TrackAugmentation((30, 200), None)(_spot(40, 20), seed=0)
    assert images.shape == (2, 30, 200, 3)
    np.testing.assert_allclose(matrix, np.diag([2, 0.5, 1]))
    np.testing.assert_allclose(_centre(images[0]), [80, 10], atol=0.02)


def test_mirroring_moves_pixels_where_the_matrix_says():
    images, matrix = _augmentation((60, 100), flip=1.0)(_spot(40, 20), seed=0)
    np.testing.assert_allclose(matrix, [[-1, 0, 100], [0, 1, 0], [0, 0, 1]], atol=1e-4)
    np.testing.assert_allclose(_centre(images[1]), [60, 20], atol=1e-9)


@pytest.mark.parametrize("seed", range(12))
def test_a_3d_point_projects_onto_its_moved_pixel(seed):
    intrinsics = np.array([[80.0, 0, 47], [0, 82, 28], [0, 0, 1]])
    point = np.array([-0.3, -0.2, 4.0])
    x, y = (intrinsics @ point)[:2] / point[2]
    spot = _spot(round(x), round(y))
    settings = {"flip": 0.5, "crop": (0.6, 1.0), "stretch": 1.2}
    images, matrix = _augmentation((90, 160), **settings)(spot, seed=seed)
    # The spot is drawn at whole pixels: move the point there.
    point[:2] += (np.array([round(x), round(y)]) - [x, y]) * point[2] / [80, 82]
    moved = matrix @ intrinsics @ point
    np.testing.assert_allclose(_centre(images[0]), moved[:2] / moved[2], atol=0.25)
    np.testing.assert_array_equal(images[0], images[1])


def test_both_directions_and_many_crops_are_drawn():
    augment = _augmentation((60, 100), flip=0.5, crop=(0.5, 0.9))
    matrices = np.stack([augment(_spot(40, 20), seed=seed)[1] for seed in range(40)])
    mirrored = (matrices[:, 0, 0] < 0).mean()
    assert 0.2 < mirrored < 0.8
    # A share s of the area is stretched back to the whole: |fx| * fy is 1 / s.
    shares = 1 / (np.abs(matrices[:, 0, 0]) * matrices[:, 1, 1])
    assert shares.min() > 0.48
    assert shares.max() < 0.92
    assert shares.std() > 0.05


def test_a_mirrored_crop_of_known_position():
    ramp = np.tile(np.arange(100, dtype=np.uint8)[None, :, None], (60, 1, 3))
    augment = _augmentation((60, 100), flip=1.0, crop=(0.4, 0.6))
    images, matrix = augment(ramp[None], seed=3)
    # Each pixel's value is its x in the source: the matrix takes x + 0.5 to where it is now.
    for column in (20, 50, 80):
        source = images[0, 30, column, 0] + 0.5
        assert abs(matrix[0, 0] * source + matrix[0, 2] - (column + 0.5)) < abs(matrix[0, 0])


def test_the_same_seed_is_the_same_augmentation():
    augment = TrackAugmentation((48, 80), AugmentSettings(noise=1.0, blur=1.0))
    noise = np.random.default_rng(0).integers(0, 255, (2, 60, 100, 3), np.uint8)
    first, second, other = augment(noise, 5), augment(noise, 5), augment(noise, 6)
    np.testing.assert_array_equal(first[0], second[0])
    np.testing.assert_array_equal(first[1], second[1])
    assert (first[0] != other[0]).any()


def test_colours_change_but_nothing_moves():
    augment = _augmentation((60, 100), colour=1.0)
    images, matrix = augment(_spot(40, 20) // 2, seed=1)
    np.testing.assert_allclose(matrix, np.eye(3), atol=1e-6)
    assert (images != _spot(40, 20) // 2).any()
    np.testing.assert_array_equal(images[0], images[1])


def test_boxes_are_mirrored_to_boxes():
    mirror = np.array([[-2.0, 0, 100], [0, 3, -5], [0, 0, 1]])
    boxes = np.array([[10.0, 20, 30, 40], [0, 0, 1, 1]])
    moved = move_boxes(boxes, np.stack([mirror, np.eye(3)]))
    assert moved.tolist() == [[40, 55, 80, 115], [0, 0, 1, 1]]
    assert move_boxes(boxes[:0], np.zeros((0, 3, 3))).shape == (0, 4)


def test_unknown_settings_are_named_with_the_nearest():
    wanted = "augment: 'flips' is none of flip, .*; did you mean 'flip'"
    with pytest.raises(ConfigError, match=wanted):
        AugmentSettings.parse({"flips": 1})
