"""Intrinsics in another unit or layout, or of other images."""

import numpy as np
import pytest

from drivemim.data.index.arrow import strings
from drivemim.data.index.builders.plausible_intrinsics import (
    check_intrinsics,
    check_principal_points,
)
from drivemim.data.index.builders.source_rows import SourceRows


def _rows(folder, table, names):
    return SourceRows.of_table(folder, table, strings(list(names)))


def test_a_twice_smaller_image_is_refused_by_its_principal_point_on_the_edge(tmp_path, caplog):
    """A camera of 1600 x 900 has 800, 450: in an image of 800 x 450 that is the corner."""

    def check(center, size, images=(True, True)):
        args = np.array(center, float), np.array(size), np.array(images)
        check_principal_points(_rows(tmp_path, "sample_data", "ab"), *args)
        text = caplog.text
        caplog.clear()
        return text

    assert check([[800, 450], [826, 479]], [[1600, 900]] * 2) == ""
    with pytest.raises(ValueError, match=r"'b' is 800 pixels wide and 450 high.*edge \(1 such"):
        check([[800, 450], [800, 450]], [[1600, 900], [800, 450]])
    assert check([[800, 450], [800, 450]], [[1600, 900], [800, 450]], (True, False)) == ""
    # Of images of half the width and height, whose middle was not quite the principal point.
    with pytest.raises(ValueError, match=r"'a' is 800 pixels wide.*edge \(2 such"):
        check([[790, 440], [780, 452]], [[800, 450]] * 2)
    # Well off the centre, as of a rig whose images were cut above the bonnet: one way only.
    assert check([[800, 380], [100, 520]], [[1600, 600]] * 2) == ""
    assert "'a' is 1600 pixels wide and 400 high" in check([[800, 450]] * 2, [[1600, 400]] * 2)
    assert "Unless the images were cropped" in check([[800, 450]] * 2, [[1600, 400]] * 2)
    # Three quarters, and a quarter, of every image's width and height.
    assert "far from the middle" in check([[750, 450], [750, 460]], [[1000, 600]] * 2)
    assert "far from the middle" in check([[400, 225], [400, 226]], [[1600, 900]] * 2)
    # Only the width or only the height: cx at 80 % or 95 %, cy at 25 % of every image.
    assert "far from the middle" in check([[800, 300], [810, 120]], [[1000, 600]] * 2)
    assert "'a' is 1000 pixels wide" in check([[950, 300], [960, 290]], [[1000, 600]] * 2)
    assert "far from the middle" in check([[500, 150], [300, 140]], [[1000, 600]] * 2)
    # To different sides, or in one of two images only.
    assert check([[800, 300], [200, 300]], [[1000, 600]] * 2) == ""
    assert check([[800, 300], [600, 300]], [[1000, 600]] * 2) == ""
    assert check([[400, 225], [800, 450]], [[1600, 900]] * 2) == ""
    assert check(np.zeros((2, 2)), np.zeros((2, 2), int), (False, False)) == ""


def test_swapped_centers_are_warned_of(tmp_path, caplog):
    def check(center, size):
        caplog.clear()
        args = np.array(center, float), np.array(size), np.ones(len(size), bool)
        check_principal_points(_rows(tmp_path, "sample_data", "ab"[: len(size)]), *args)
        return caplog.text

    # 450 and 800 are 28 % and 89 % of 1600 x 900; 800 and 450 are its middle.
    said = check([[800, 450], [450, 800]], [[1600, 900]] * 2)
    assert "'b' is 1600 pixels wide and 900 high, and the principal point [450.0, 800.0]" in said
    assert "if cx and cy were swapped (1 such rows)" in said
    assert "swapped" in check([[270, 480]], [[960, 540]])
    assert "swapped" in check([[240, 320]], [[640, 480]])
    # The edge in one direction: 400, 800 of 1600 x 800.
    assert "swapped" in check([[400, 800]], [[1600, 800]])
    # Swapping changes nothing in a square image, little in a nearly square one.
    assert check([[320, 320], [300, 330]], [[640, 640], [640, 600]]) == ""
    # Cut from the middle of a larger image, above and below: no swap puts it in the middle.
    assert check([[800, 300]], [[1600, 800]]) == ""


def test_focal_lengths_that_differ_are_warned_of(tmp_path, caplog):
    def check(*focal):
        caplog.clear()
        matrices = np.array([[[fx, 0, 800], [0, fy, 450], [0, 0, 1]] for fx, fy in focal], float)
        check_intrinsics(_rows(tmp_path, "calibrated_sensor", "ab"[: len(focal)]), matrices)
        return caplog.text

    said = check((1266, 1266), (1266, 126.6))
    assert "camera_intrinsic of 'b' has fx 1266 and fy 126.6 (1 such rows)" in said
    assert "has fx 500 and fy 1010" in check((500, 1010))
    # Exactly twice, and pixels of another aspect, such as 4:3 stretched to 16:9.
    assert check((1000, 500), (1000, 750)) == check((500, 1000)) == ""
    # Sensors that are not cameras have no matrix.
    assert check((np.nan, np.nan)) == ""
