import cv2
import numpy as np
import pytest

from drivemim.data.clips.augmentation import AugmentSettings, CameraAugmentation
from drivemim.data.index.images import read_image, reduction
from drivemim.errors import ConfigError
from drivemim.geometry.boxes import transform_boxes

STILL = {"flip": 0.0, "crop": (1.0, 1.0), "colour": 0.0, "blur": 0.0, "noise": 0.0}


@pytest.fixture
def augmented(tmp_path):
    """Write frames as PNG files, read them as one camera's, return the images and the matrix."""

    def augment(size, frames, seed=0, **settings):
        augmentation = CameraAugmentation(AugmentSettings.parse({**STILL, **settings}))
        draw = augmentation.draw(seed)
        stored = frames.shape[1:3]
        crop = draw.crop(stored, size)
        images = []
        for number, frame in enumerate(frames):
            path = tmp_path / f"{number}.png"
            cv2.imwrite(str(path), frame)
            images.append(read_image(path, token="t", stored=stored, size=size, crop=crop))
        return augmentation.finish(np.stack(images), draw), draw.matrix(crop, size)

    return augment


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


def test_nothing_is_drawn_without_settings():
    augmentation = CameraAugmentation(None)
    draw = augmentation.draw(3)
    crop = draw.crop((45, 77), (30, 200))
    assert crop == (0, 0, 45, 77)
    np.testing.assert_array_equal(
        draw.matrix(crop, (30, 200)), [[200 / 77, 0, 0], [0, 30 / 45, 0], [0, 0, 1]]
    )
    images = _spot(40, 20)
    np.testing.assert_array_equal(augmentation.finish(images, draw), images)


def test_mirroring_moves_pixels_where_the_matrix_says(augmented):
    images, matrix = augmented((60, 100), _spot(40, 20), flip=1.0)
    np.testing.assert_array_equal(matrix, [[-1, 0, 100], [0, 1, 0], [0, 0, 1]])
    np.testing.assert_allclose(_centre(images[1]), [60, 20], atol=1e-9)


@pytest.mark.parametrize("seed", range(12))
def test_a_3d_point_projects_onto_its_moved_pixel(augmented, seed):
    intrinsics = np.array([[80.0, 0, 47], [0, 82, 28], [0, 0, 1]])
    point = np.array([-0.3, -0.2, 4.0])
    x, y = (intrinsics @ point)[:2] / point[2]
    settings = {"flip": 0.5, "crop": (0.6, 1.0), "stretch": 1.2}
    images, matrix = augmented((90, 160), _spot(round(x), round(y)), seed, **settings)
    # The spot is drawn at whole pixels: move the point there.
    point[:2] += (np.array([round(x), round(y)]) - [x, y]) * point[2] / [80, 82]
    moved = matrix @ intrinsics @ point
    np.testing.assert_allclose(_centre(images[0]), moved[:2] / moved[2], atol=0.1)
    np.testing.assert_array_equal(images[0], images[1])


def test_both_directions_and_many_crops_are_drawn():
    augmentation = CameraAugmentation(AugmentSettings(crop=(0.5, 0.9), stretch=1.15))
    draws = [augmentation.draw(seed) for seed in range(2000)]
    assert 0.45 < np.mean([draw.mirrored for draw in draws]) < 0.55
    areas = np.array([draw.height * draw.width for draw in draws])
    assert areas.min() > 0.5 - 1e-9
    assert areas.max() < 0.9
    # Uniform between 0.5 and 0.9: quartiles at 0.6, 0.7 and 0.8.
    np.testing.assert_allclose(np.quantile(areas, [0.25, 0.5, 0.75]), [0.6, 0.7, 0.8], atol=0.03)
    aspects = np.log([draw.width / draw.height for draw in draws])
    assert np.abs(aspects).max() < np.log(1.15) + 1e-9
    assert aspects.min() < -0.9 * np.log(1.15)
    assert aspects.max() > 0.9 * np.log(1.15)
    assert abs(aspects.mean()) < 0.02


def test_crops_lie_inside_the_image_and_reach_its_edges():
    augmentation = CameraAugmentation(AugmentSettings(crop=(0.05, 1.0), stretch=2.0))
    for stored, size in [((90, 160), (9, 16)), ((91, 163), (30, 50)), ((7, 9), (64, 64))]:
        crops = np.array([augmentation.draw(seed).crop(stored, size) for seed in range(300)])
        assert crops[:, :2].min() == 0
        assert crops[:, 2:].min() > 0
        ends = crops[:, :2] + crops[:, 2:]
        assert (ends <= stored).all()
        # For every reduction factor, a crop ends at the image's border or at most 7 pixels before.
        assert (ends.max(axis=0) > np.array(stored) - 8).all()


def test_focus_puts_the_centre_of_an_object_into_the_crop():
    """Half of all crops are drawn around one of two objects; sizes and mirroring stay the same."""
    settings = {"crop": (0.04, 0.04), "stretch": 1.0}
    plain = CameraAugmentation(AugmentSettings.parse(settings))
    focused = CameraAugmentation(AugmentSettings.parse({**settings, "focus": 0.5}))
    centers_M2 = np.array([[0.9, 0.2], [0.5, 1.0]])
    contains = np.zeros(2)
    places = []
    for seed in range(2000):
        draw, before = focused.draw(seed, centers_M2), plain.draw(seed, centers_M2)
        assert (draw.height, draw.width, draw.mirrored) == (
            before.height, before.width, before.mirrored,
        )  # fmt: skip
        # The crop has 20 % of the height and of the width.
        start = np.array([draw.top, draw.left]) * 0.8
        inside = ((start <= centers_M2) & (centers_M2 <= start + 0.2 + 1e-9)).all(axis=1)
        if (draw.top, draw.left) != (before.top, before.left):
            assert inside.sum() == 1
            contains += inside
            places.append(((centers_M2[inside][0] - start) / 0.2).tolist())
    np.testing.assert_allclose(contains / 2000, [0.25, 0.25], atol=0.03)
    y, x = np.array(places).T
    # Objects are in the central half of the crop, as far as the crop can then lie in the image.
    assert (y.min(), y.max()) == pytest.approx((0.25, 0.75), abs=0.01)
    assert x.max() == pytest.approx(1.0)  # the second object is at the border
    assert focused.draw(7) == plain.draw(7)
    assert focused.draw(7, np.zeros((0, 2))) == plain.draw(7)


def test_a_crop_is_decoded_at_the_largest_reduction_that_covers_the_size():
    augmentation = CameraAugmentation(AugmentSettings(crop=(0.05, 1.0)))
    factors = set()
    for seed in range(200):
        draw = augmentation.draw(seed)
        crop = draw.crop((901, 1603), (100, 180))
        factor = reduction(crop, (100, 180))
        factors.add(factor)
        # It is within half a decoded pixel of what was drawn, at either side.
        assert abs(crop.height - draw.height * 901) <= factor
        assert abs(crop.width - draw.width * 1603) <= factor
        twice = 2 * factor
        assert factor == 8 or crop.height < 100 * twice + 8 or crop.width < 180 * twice + 8
    assert factors == {1, 2, 4, 8}


def test_a_mirrored_crop_of_known_position(augmented):
    ramp = np.tile(np.arange(100, dtype=np.uint8)[None, :, None], (60, 1, 3))
    images, matrix = augmented((60, 100), ramp[None], 3, flip=1.0, crop=(0.4, 0.6))
    # Each pixel's value is its x in the source: the matrix takes x + 0.5 to where it is now.
    for column in (20, 50, 80):
        source = images[0, 30, column, 0] + 0.5
        assert abs(matrix[0, 0] * source + matrix[0, 2] - (column + 0.5)) < abs(matrix[0, 0])


def test_the_same_seed_is_the_same_augmentation():
    augmentation = CameraAugmentation(AugmentSettings(noise=1.0, blur=1.0))
    noise = np.random.default_rng(0).integers(0, 255, (2, 60, 100, 3), np.uint8)
    first, second, other = (augmentation.draw(seed) for seed in (5, 5, 6))
    assert first == second
    assert first != other
    images = [augmentation.finish(noise, draw) for draw in (first, second, other)]
    np.testing.assert_array_equal(images[0], images[1])
    assert (images[0] != images[2]).any()


def test_colours_change_but_nothing_moves(augmented):
    images, matrix = augmented((60, 100), _spot(40, 20) // 2, 1, colour=1.0)
    np.testing.assert_array_equal(matrix, np.eye(3))
    assert (images != _spot(40, 20) // 2).any()
    np.testing.assert_array_equal(images[0], images[1])


def test_boxes_are_mirrored_to_boxes():
    mirror = np.array([[-2.0, 0, 100], [0, 3, -5], [0, 0, 1]])
    boxes = np.array([[10.0, 20, 30, 40], [0, 0, 1, 1]])
    moved = transform_boxes(boxes, np.stack([mirror, np.eye(3)]))
    assert moved.tolist() == [[40, 55, 80, 115], [0, 0, 1, 1]]
    assert transform_boxes(boxes[:0], np.zeros((0, 3, 3))).shape == (0, 4)


def test_unknown_settings_are_named_with_the_nearest():
    wanted = "augment: 'flips' is none of flip, .*; did you mean 'flip'"
    with pytest.raises(ConfigError, match=wanted):
        AugmentSettings.parse({"flips": 1})


@pytest.mark.parametrize(
    ("settings", "named"),
    [
        ({"crop": (0.0, 1.0)}, r"crop=\(0.0, 1.0\)"),
        ({"crop": [0.9, 0.5]}, r"crop=\(0.9, 0.5\)"),
        ({"crop": (0.5, 1.5)}, r"crop=\(0.5, 1.5\)"),
        ({"crop": 0.5}, "crop=0.5 must be the smallest and the largest fraction"),
        ({"crop": (0.5,)}, r"crop=\(0.5,\) must be the smallest and the largest fraction"),
        ({"crop": "whole"}, "crop='whole' must be"),
        ({"crop": ("a", "b")}, r"crop=\('a', 'b'\) must be"),
        ({"crop": (True, True)}, r"crop=\(True, True\) must be"),
        ({"stretch": 0.5}, "stretch 0.5 must be 1 or more"),
        ({"stretch": np.nan}, "stretch nan must be 1 or more"),
        ({"stretch": "wide"}, "stretch 'wide' must be a number"),
        ({"flip": 50}, r"flip 50 must be in \[0, 1\]"),
        ({"flip": None}, "flip None must be a number"),
        ({"flip": True}, "flip True must be a number"),
        ({"colour": 1.1}, r"colour 1.1 must be in \[0, 1\]"),
        ({"blur": -0.1}, r"blur -0.1 must be in \[0, 1\]"),
        ({"noise": np.nan}, r"noise nan must be in \[0, 1\]"),
        ({"brightness": -0.1}, r"brightness -0.1 must be in \[0, 1\]"),
        ({"contrast": 30}, r"contrast 30 must be in \[0, 1\]"),
        ({"saturation": 2}, r"saturation 2 must be in \[0, 1\]"),
        ({"focus": 1.5}, r"focus 1.5 must be in \[0, 1\]"),
        ({"hue": 0.6}, r"hue 0.6 must be in \[0, 0.5\]"),
    ],
)
def test_values_out_of_range_are_named(settings, named):
    with pytest.raises(ConfigError, match=named):
        AugmentSettings.parse(settings)
