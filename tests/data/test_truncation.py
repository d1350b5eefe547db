from io import BytesIO

import cv2
import numpy as np
import pytest
from PIL import Image

from drivemim.data.index.images import read_image
from drivemim.data.index.truncation import append_end_marker, end_is_missing, is_truncated

END = b"\xff\xd9"
KINDS = {
    "baseline": {},
    "progressive": {"progressive": True},
    "restarts": {"restart_marker_blocks": 3},
    "full colour": {"subsampling": 0, "optimize": True},
}


@pytest.fixture(params=KINDS, scope="module")
def whole(request):
    """A JPEG of 80x56 of noise over a ramp, by Pillow's encoder."""
    ramp = np.linspace(20, 235, 80)[None, :, None] + np.zeros((56, 1, 3))
    noise = np.random.default_rng(0).normal(0, 12, (56, 80, 3))
    image = Image.fromarray((ramp + noise).clip(0, 255).astype(np.uint8))
    stream = BytesIO()
    image.save(stream, "JPEG", quality=90, **KINDS[request.param])
    return stream.getvalue()


def _video(seed=0, size=40_000):
    """A video's beginning: bytes among which every marker of a JPEG occurs."""
    content = np.random.default_rng(seed).integers(0, 256, size, np.uint8).tobytes()
    return b"\0\0\0\x18ftypmp42\0\0\0\0mp42isom" + content + b"\xff\xda" + content[:200]


def _pixels(data):
    return cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)


def _read(tmp_path, data):
    path = tmp_path / "0.jpg"
    path.write_bytes(data)
    return read_image(path, token="t", stored=(56, 80))


@pytest.mark.parametrize(
    "change",
    [
        lambda data: data,
        lambda data: data[:-2],
        lambda data: data[:-1],
        lambda data: data[:-2] + bytes(4096),
        lambda data: data[:-2] + b"\xff" * 4096,
        lambda data: data + _video(),
        lambda data: data + bytes(100) + data[: len(data) // 2],
    ],
    ids=["whole", "no end", "half an end", "zeros", "ones", "video behind", "cut image behind"],
)
def test_complete_images_are_read_with_all_pixels(whole, change, tmp_path):
    assert not is_truncated(change(whole))
    np.testing.assert_array_equal(_read(tmp_path, change(whole)), _pixels(whole))


@pytest.mark.parametrize("behind", [b"", bytes(5000), b"\xff" * 5000])
def test_files_cut_before_their_end_are_truncated(whole, behind, tmp_path):
    # The last bytes may be padding; one zero byte can stand for the last blocks' colour.
    end = len(whole) - (16 if behind else 4)
    for length in [*range(2, end, 31), end - 1, end]:
        with pytest.raises(ValueError, match=r"0\.jpg of frame t is truncated"):
            _read(tmp_path, whole[:length] + behind)


def test_a_cut_scan_shows_when_something_with_an_end_follows(whole, tmp_path):
    scan = whole.index(b"\xff\xda")
    # A progressive image that lacks the end of its last scan, the finest, passes for a whole one.
    for fraction in (0.1, 0.4, 0.6):
        length = scan + int((len(whole) - scan) * fraction)
        with pytest.raises(ValueError, match=r"0\.jpg of frame t is truncated"):
            _read(tmp_path, whole[:length] + END)
        with pytest.raises(ValueError, match=r"0\.jpg of frame t is truncated"):
            _read(tmp_path, whole[:length] + b"\xff\xfe\0\x04no" + END)


def test_a_grey_corner_alone_is_not_a_sign():
    grey = np.full((40, 48, 3), 128, np.uint8)
    data = cv2.imencode(".jpg", grey)[1].tobytes()
    assert (_pixels(data) == 128).all()
    assert not is_truncated(data)
    assert not end_is_missing(data, _pixels(data))
    assert not is_truncated(data[:-2])
    assert append_end_marker(data[:-2]) == data
    assert append_end_marker(data) == data


def test_a_thumbnail_does_not_hide_a_truncation(whole):
    segment = b"\xff\xe1" + (len(whole) + 2).to_bytes(2, "big") + whole
    both = whole[:2] + segment + whole[2:]
    assert not is_truncated(both)
    assert not is_truncated(both[:-2])
    assert is_truncated(both[:-20])
    assert is_truncated(both[: len(segment) + 2])


def test_an_image_without_one_of_its_scans_is_truncated():
    noise = np.random.default_rng(1).integers(0, 256, (32, 32, 3), np.uint8)
    data = cv2.imencode(".jpg", noise, [cv2.IMWRITE_JPEG_PROGRESSIVE, 1])[1].tobytes()
    scans = [place for place in range(len(data)) if data[place : place + 2] == b"\xff\xda"]
    assert len(scans) > 3
    assert not is_truncated(data[:-2])
    for place in scans[1:]:
        assert is_truncated(data[:place])
        assert is_truncated(data[:place] + END)


def test_png_is_read_by_its_chunks(tmp_path):
    image = np.random.default_rng(0).integers(0, 255, (48, 64, 3), np.uint8)
    data = cv2.imencode(".png", image)[1].tobytes()
    for complete in (data, data + b"a note" * 50, data + _video()):
        assert not is_truncated(complete)
        path = tmp_path / "0.png"
        path.write_bytes(complete)
        np.testing.assert_array_equal(read_image(path, token="t", stored=(48, 64)), image)
    for length in (8, 20, 33, len(data) // 2, len(data) - 500, len(data) - 12, len(data) - 1):
        assert is_truncated(data[:length])
        assert is_truncated(data[:length] + bytes(600)) or length == len(data) - 1


def test_empty_data_is_truncated():
    assert is_truncated(b"")
    assert not is_truncated(b"BM")
