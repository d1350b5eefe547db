import cv2
import numpy as np
import pytest

from drivemim.data.clips.clip_dataset import ClipDataset
from drivemim.data.detection.detection_transforms import LoadReducedImage, LoadReducedInstances
from drivemim.data.index.builders.frames import build_frames_index
from drivemim.data.index.images import Crop, read_image, reduction, resize_image


@pytest.fixture
def picture(tmp_path):
    """A JPEG of 64x48 with something in every corner."""
    image = np.zeros((48, 64, 3), np.uint8)
    image[:, 32:, 0] = 200
    image[24:, :, 2] = 150
    path = tmp_path / "0.jpg"
    cv2.imwrite(str(path), image, [cv2.IMWRITE_JPEG_QUALITY, 95])
    return path


def test_reduction_is_the_largest_that_still_covers():
    whole = Crop.whole((900, 1600))
    assert reduction(whole, (448, 800)) == 2
    assert reduction(whole, (450, 800)) == 2
    assert reduction(whole, (451, 800)) == 1
    assert reduction(whole, (225, 401)) == 2
    assert reduction(whole, (2000, 2000)) == 1
    assert reduction(Crop(0, 0, 896, 1600), (100, 200)) == 8


def test_reduction_leaves_whole_pixels():
    # 900 rows are 112.5 of 8.
    assert reduction(Crop.whole((900, 1600)), (100, 200)) == 4
    assert reduction(Crop.whole((375, 1242)), (100, 200)) == 1
    assert reduction(Crop(4, 0, 800, 1600), (100, 200)) == 4
    assert reduction(Crop(8, 2, 800, 1600), (100, 200)) == 2
    assert reduction(Crop(8, 16, 800, 1584), (100, 198)) == 8


@pytest.mark.parametrize(
    "size", [(48, 64), (24, 32), (6, 8), (24, 30), (20, 64), (96, 128), (96, 30), (1, 1)]
)
def test_images_have_the_size_wanted(picture, size):
    image = read_image(picture, token="t", stored=(48, 64), size=size)
    assert image.shape == (*size, 3)
    assert image.dtype == np.uint8
    assert image.flags["C_CONTIGUOUS"]
    if min(size) > 1:
        # Blue at the top right, red below at the left.
        np.testing.assert_allclose(image[1, -2], [200, 0, 0], atol=8)
        np.testing.assert_allclose(image[-2, 1], [0, 0, 150], atol=8)


def test_without_a_size_the_stored_pixels_are_read(picture):
    image = read_image(picture, token="t", stored=(48, 64))
    np.testing.assert_array_equal(image, cv2.imread(str(picture)))
    part = read_image(picture, token="t", stored=(48, 64), crop=Crop(3, 5, 30, 41))
    np.testing.assert_array_equal(part, image[3:33, 5:46])


def test_both_sides_of_an_image_that_shrinks_and_grows_are_right():
    # Rows 0 100 0 100 average to 50 each; columns are repeated by interpolation.
    image = np.zeros((4, 2, 3), np.uint8)
    image[1::2] = 100
    np.testing.assert_array_equal(resize_image(image, (2, 4)), np.full((2, 4, 3), 50))
    np.testing.assert_array_equal(
        resize_image(image.transpose(1, 0, 2).copy(), (4, 2)), np.full((4, 2, 3), 50)
    )


def _wave(xs, ys):
    """Grey at positions of an image, smooth and different in each direction."""
    return 128 + 60 * np.sin(xs / 24) + 60 * np.cos(ys / 19 + 1)


@pytest.mark.parametrize("suffix", ["jpg", "png"])
@pytest.mark.parametrize("shape", [(449, 899), (450, 900), (448, 896), (451, 903)])
@pytest.mark.parametrize("size", [(56, 112), (55, 100), (112, 221), (200, 400), (500, 1000)])
def test_every_pixel_shows_the_place_that_the_matrix_says(tmp_path, suffix, shape, size):
    height, width = shape
    image = _wave(np.arange(width)[None] + 0.5, np.arange(height)[:, None] + 0.5)
    path = tmp_path / f"wave.{suffix}"
    cv2.imwrite(str(path), np.rint(image).astype(np.uint8), [cv2.IMWRITE_JPEG_QUALITY, 100])
    crops = [Crop.whole(shape), Crop(8, 16, 448 - 16, 896 - 80), Crop(3, 5, 401, 803)]
    for crop in crops:
        read = read_image(path, token="t", stored=shape, size=size, crop=crop)
        back = np.linalg.inv(crop.matrix(size))
        xs = (np.arange(size[1]) + 0.5) * back[0, 0] + back[0, 2]
        ys = (np.arange(size[0]) + 0.5) * back[1, 1] + back[1, 2]
        error = read[..., 0] - _wave(xs[None], ys[:, None])
        assert np.abs(error).mean() < 1.2
        # How far the content of a corner lies from its place, in stored pixels: error over slope.
        slopes = (60 / 24 * np.cos(xs / 24)[None], -60 / 19 * np.sin(ys / 19 + 1)[:, None])
        for slope in slopes:
            slope = np.broadcast_to(slope, size)
            for corner in np.ndindex(2, 2):
                part = tuple(slice(0, n // 3) if c else slice(-(n // 3), None)
                             for c, n in zip(corner, size, strict=True))  # fmt: skip
                shift = (error[part] * slope[part]).sum() / (slope[part] ** 2).sum()
                assert abs(shift) < 0.12


def test_a_size_that_the_factor_does_not_divide_is_not_stretched(tmp_path):
    # Of 100 pixels across 900, numbers 97 and 98 show the bar. 113 pixels of 8 span 904: taken for
    # 900, they would show it 0.43 pixels further left.
    image = np.zeros((64, 900, 3), np.uint8)
    image[:, 97 * 9 : 99 * 9] = 255
    path = tmp_path / "bar.jpg"
    cv2.imwrite(str(path), image, [cv2.IMWRITE_JPEG_QUALITY, 100])
    row = read_image(path, token="t", stored=(64, 900), size=(8, 100))[4, 95:, 0]
    np.testing.assert_allclose(row, [0, 0, 255, 255, 0], atol=26)


def test_pretraining_and_detection_see_the_same_pixels(tmp_path):
    noise = np.random.default_rng(0).integers(0, 255, (90, 160, 3), np.uint8)
    noise = cv2.GaussianBlur(noise, (5, 5), 1.0)
    for name, part in (("a.jpg", noise), ("b.jpg", noise[:75, :125]), ("c.png", noise)):
        cv2.imwrite(str(tmp_path / name), part)
    index = build_frames_index([tmp_path], tmp_path / "index.arrow")
    # Halved exactly, shrunk, shrunk a lot, grown, and both at once.
    for size in ((45, 80), (32, 64), (10, 17), (192, 320), (120, 64)):
        clips = ClipDataset(index=index, image_size=size, boxes=None)
        frames = clips.index.frames
        detector = LoadReducedImage(image_size=size)
        for number in range(3):
            results = detector(
                {
                    "img_path": str(clips.index.image_path(number)),
                    "frame_token": frames.token[number],
                    "height": int(frames.height[number]),
                    "width": int(frames.width[number]),
                    "instances": [],
                }
            )
            masked = LoadReducedInstances(image_size=size, with_annotations=False)(
                {"img_id": number, **{key: results[key] for key in ("img_path", "height", "width")}}
            )
            np.testing.assert_array_equal(masked["img"], results["img"])
            assert masked["scale_factor"] == results["scale_factor"]
            assert masked["ori_shape"] == results["ori_shape"]
            clip = clips[number]
            assert clip.tokens == (((frames.token[number],),),)
            np.testing.assert_array_equal(clip.images_BTNHWC[0, 0, 0].numpy(), results["img"])


def test_every_truncation_is_noticed(picture):
    data = picture.read_bytes()
    for length in range(0, len(data) - 2, 7):
        picture.write_bytes(data[:length])
        with pytest.raises(ValueError, match=r"0\.jpg of frame token-7 (is trunc|cannot be dec)"):
            read_image(picture, token="token-7", stored=(48, 64))
    picture.write_bytes(data[: len(data) // 2] + bytes(len(data) - len(data) // 2))
    with pytest.raises(ValueError, match="is truncated"):
        read_image(picture, token="t", stored=(48, 64))


def test_bytes_after_the_end_do_no_harm(picture):
    picture.write_bytes(picture.read_bytes() + b"a maker's note")
    assert read_image(picture, token="t", stored=(48, 64)).shape == (48, 64, 3)


def test_truncated_png(tmp_path):
    path = tmp_path / "0.png"
    noise = np.random.default_rng(0).integers(0, 255, (48, 64, 3), np.uint8)
    cv2.imwrite(str(path), noise)
    np.testing.assert_array_equal(read_image(path, token="t", stored=(48, 64)), noise)
    path.write_bytes(path.read_bytes()[:-500])
    with pytest.raises(ValueError, match=r"0\.png of frame t is truncated"):
        read_image(path, token="t", stored=(48, 64))


def test_missing_undecodable_and_swapped_images_are_named(picture, tmp_path):
    with pytest.raises(FileNotFoundError, match=r"gone\.jpg of frame abc is missing"):
        read_image(tmp_path / "gone.jpg", token="abc", stored=(48, 64))
    text = tmp_path / "text.jpg"
    text.write_text("not an image")
    with pytest.raises(ValueError, match=r"text\.jpg of frame abc cannot be decoded"):
        read_image(text, token="abc", stored=(48, 64))
    with pytest.raises(ValueError, match="is 64x48 but the index has 1600x900"):
        read_image(picture, token="abc", stored=(900, 1600))


def test_a_size_that_only_rounding_hides_is_noticed(tmp_path):
    # Both are 25 columns when they are reduced by 8.
    path = tmp_path / "0.jpg"
    cv2.imwrite(str(path), np.zeros((64, 197, 3), np.uint8))
    with pytest.raises(ValueError, match="is 197x64 but the index has 200x64"):
        read_image(path, token="abc", stored=(64, 200), size=(8, 25))
