"""Comparison of the frames that two parts of a run have."""

import cv2
import numpy as np
import pytest
from seen_data import index_of, metadata_of, write_frames

from drivemim.transfer.record_changes import describe_change


@pytest.fixture
def folder(tmp_path):
    write_frames(tmp_path / "data", {"train": {"a": 6, "b": 4}})
    return tmp_path / "data"


@pytest.fixture
def part(folder, tmp_path):
    return {"index": str(index_of(folder, tmp_path / "i.arrow", "train"))}


def test_an_image_that_goes_or_comes_back_is_no_other_data(folder, part):
    whole = metadata_of(part)
    (folder / "a" / "0.png").unlink()
    less = metadata_of(part)
    assert less["data"][0]["missing_images"] == 1
    assert describe_change(less, whole) == []
    assert describe_change(whole, less) == []


def test_a_record_without_pictures_is_compared_by_its_number(part):
    whole, unknown = metadata_of(part), metadata_of(part)
    unknown["data"][0]["seen"]["contents"] = None  # as written by an earlier version
    assert describe_change(whole, unknown) == []
    unknown["data"][0]["frames"] = 9
    assert len(describe_change(whole, unknown)) == 1


def test_changes_of_one_index_are_named(folder, part):
    whole, only = metadata_of(part), metadata_of({**part, "scenes": ["a"]})
    index = part["index"]
    assert describe_change(only, whole) == [
        f"10 frames of all scenes in {index} before, 6 of ['a'] now"
    ]
    cv2.imwrite(str(folder / "a" / "0.png"), np.full((360, 480, 3), 9, np.uint8))
    assert describe_change(metadata_of(part), whole) == [f"other images in {index} than before"]
