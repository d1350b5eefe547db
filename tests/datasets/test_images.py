import cv2
import numpy as np
import pytest

from drivemim.datasets.images import is_truncated, read_image, reduction


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
    assert reduction((900, 1600), (448, 800)) == 2
    assert reduction((900, 1600), (450, 800)) == 2
    assert reduction((900, 1600), (451, 800)) == 1
    assert reduction((900, 1600), (100, 200)) == 8
    assert reduction((900, 1600), (225, 401)) == 2
    assert reduction((900, 1600), (2000, 2000)) == 1


@pytest.mark.parametrize(
    ("wanted", "shape"), [(None, (48, 64)), ((24, 30), (24, 32)), ((6, 8), (6, 8))]
)
def test_images_are_read_as_small_as_wanted(picture, wanted, shape):
    image = read_image(picture, token="t", stored=(48, 64), wanted=wanted)
    assert image.shape == (*shape, 3)
    assert image.dtype == np.uint8
    # Blue at the top right, red below at the left.
    np.testing.assert_allclose(image[1, -2], [200, 0, 0], atol=8)
    np.testing.assert_allclose(image[-2, 1], [0, 0, 150], atol=8)


def test_odd_sizes_are_rounded_as_the_decoder_does(tmp_path):
    path = tmp_path / "odd.jpg"
    cv2.imwrite(str(path), np.zeros((51, 67, 3), np.uint8))
    for wanted in ((25, 33), (12, 16), (6, 8)):
        image = read_image(path, token="t", stored=(51, 67), wanted=wanted)
        assert all(have >= need for have, need in zip(image.shape, wanted, strict=False))


def test_every_truncation_is_noticed(picture):
    data = picture.read_bytes()
    for length in range(0, len(data) - 1, 7):
        picture.write_bytes(data[:length])
        with pytest.raises(ValueError, match=r"0\.jpg of frame token-7 (is trunc|cannot be dec)"):
            read_image(picture, token="token-7", stored=(48, 64))
    picture.write_bytes(data[: len(data) // 2] + bytes(len(data) - len(data) // 2))
    with pytest.raises(ValueError, match="is truncated"):
        read_image(picture, token="t", stored=(48, 64))


def test_bytes_after_the_end_do_no_harm(picture):
    picture.write_bytes(picture.read_bytes() + b"a maker's note")
    assert read_image(picture, token="t", stored=(48, 64)).shape == (48, 64, 3)


def test_a_thumbnail_does_not_hide_a_truncation(picture):
    data = picture.read_bytes()
    segment = b"\xff\xe1" + (len(data) + 2).to_bytes(2, "big") + data
    whole = data[:2] + segment + data[2:]
    assert not is_truncated(whole)
    assert is_truncated(whole[:-20])


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
