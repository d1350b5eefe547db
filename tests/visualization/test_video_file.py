from pathlib import Path

import cv2
import numpy as np
import pytest

from drivemim.data.index.builders.videos import decode_video, frame_rate
from drivemim.visualization.video_file import video_writer


def frame(level: int, size: tuple[int, int]) -> np.ndarray:
    """Grey with a red left half, BGR."""
    image = np.full((*size, 3), level, np.uint8)
    image[:, : size[1] // 2] = (0, 0, 200)
    return image


@pytest.mark.parametrize("size", [(48, 64), (375, 1241)])
@pytest.mark.parametrize("rate", [10.0, 29.97 / 3, 0.5])
def test_a_video_has_every_image_at_its_rate(
    tmp_path: Path, size: tuple[int, int], rate: float
) -> None:
    path = tmp_path / "below" / "drive.mp4"
    with video_writer(path, rate) as append:
        for level in (0, 50, 100):
            append(frame(level, size))
    assert frame_rate(path) == pytest.approx(rate, rel=1e-3)
    found = [each.image for each in decode_video(path)]
    assert found[0].shape == (size[0] // 2 * 2, size[1] // 2 * 2, 3)
    np.testing.assert_allclose([each[20, -9].mean() for each in found], [0, 50, 100], atol=6)
    np.testing.assert_allclose(found[0][20, 9], [0, 0, 200], atol=12)
    assert [each.name for each in path.parent.iterdir()] == ["drive.mp4"]


def test_nothing_is_left_of_an_interrupted_video(tmp_path: Path) -> None:
    path = tmp_path / "drive.mp4"
    path.write_bytes(b"an earlier video")
    (tmp_path / ".drive.mp4.4194305.partial.mp4").write_bytes(b"of a killed process")

    def interrupted() -> None:
        with video_writer(path, 10.0) as append:
            append(frame(0, (48, 64)))
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert path.read_bytes() == b"an earlier video"
    assert list(tmp_path.iterdir()) == [path]


def test_a_video_without_images_is_not_written(tmp_path: Path) -> None:
    with video_writer(tmp_path / "drive.mp4", 10.0):
        pass
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("rate", "stored"), [(211.222, 211.22), (1000.123, 1000.1), (29.97, 29.97), (0.04, 0.04)]
)
def test_rates_that_mpeg4_cannot_store_are_rounded(tmp_path, rate, stored):
    """Of 211.222, OpenCV makes 105611 / 500, and MPEG-4 stores numbers up to 65,535."""
    with video_writer(tmp_path / "slow motion.mp4", rate) as append:
        append(np.zeros((48, 64, 3), np.uint8))
    video = cv2.VideoCapture(str(tmp_path / "slow motion.mp4"))
    assert video.get(cv2.CAP_PROP_FPS) == pytest.approx(stored, rel=1e-4)
