"""Images that cannot be read: listed for an index, and skipped or an error in training."""

import re

import cv2
import numpy as np
import pytest
from seen_data import index_of, write_frames

from drivemim.cli.index import main
from drivemim.data import ClipDataset
from drivemim.data.clips.sampler import ItemRequest
from drivemim.data.index.frame_index import FrameIndex
from drivemim.data.index.verification import image_problems
from drivemim.errors import ConfigError, DataError

SETTINGS = {"image_size": (48, 64), "boxes": None, "augment": {}}


@pytest.fixture
def broken(tmp_path):
    """An index of six images, of which the second was truncated afterwards."""
    write_frames(tmp_path / "d", {"train": {"a": 6}})
    index = index_of(tmp_path / "d", tmp_path / "i.arrow", "train")
    path = tmp_path / "d" / "a" / "1.png"
    path.write_bytes(path.read_bytes()[:900])
    return index, path


def test_every_unreadable_image_is_listed(broken):
    index, path = broken
    path.with_name("4.png").unlink()
    (first, second) = image_problems(FrameIndex.open(index))
    assert f"{path} of frame" in first.text
    assert "is truncated" in first.text
    assert "4.png" in second.text
    assert not first.is_readable
    assert not second.is_readable


def test_damaged_jpeg_data_is_reported_by_name(tmp_path, capfd):
    """Of four images, one has zeros in its scan and one a marker in it: libjpeg warns of both."""
    (tmp_path / "d").mkdir()
    for number in range(4):
        pixels = np.random.default_rng(number).integers(0, 256, (64, 96, 3), np.uint8)
        data = bytearray(cv2.imencode(".jpg", pixels)[1].tobytes())
        if number == 1:
            data[len(data) // 2 : len(data) // 2 + 200] = bytes(200)
        if number == 3:
            data[-40:-38] = b"\xff\xd0"
        (tmp_path / "d" / f"{number}.jpg").write_bytes(data)
    command = ["frames", "--root", str(tmp_path / "d"), "--out", str(tmp_path / "i.arrow")]
    capfd.readouterr()
    assert main([*command, "--verify"]) == 1
    said, errors = capfd.readouterr()
    named = re.findall(
        r"image \S+/(\d).jpg is read, but its JPEG data is damaged \(.+\); look", said
    )
    assert named == ["1", "3"]
    assert said.endswith("all of 4 images can be read; 2 of them are damaged\n")
    assert "Corrupt" not in errors


def test_the_command_lists_them(tmp_path, capsys):
    write_frames(tmp_path / "d", {"train": {"a": 3}})
    command = ["frames", "--root", str(tmp_path / "d"), "--out", str(tmp_path / "i.arrow")]
    assert main([*command, "--verify"]) == 0
    assert capsys.readouterr().out.endswith("all of 3 images can be read\n")
    path = tmp_path / "d" / "a" / "1.png"
    path.write_bytes(path.read_bytes()[:900])  # the header is whole, so an index can be built
    assert main([*command, "--verify"]) == 1
    said = capsys.readouterr().out
    assert "1.png" in said
    assert said.endswith("1 of 3 images cannot be read\n")


def test_training_stops_at_the_first_by_default(broken):
    data = ClipDataset(index=broken[0], **SETTINGS)
    skipping = (
        "; a run that keeps its index can skip up to N such images: --cfg-options "
        "train_dataloader.dataset.max_unreadable=N"
    )
    with pytest.raises(DataError, match=r"1\.png .*is truncated") as error:
        data[ItemRequest(1, seed=3)]
    assert str(error.value).endswith(f"copy or unpack it again{skipping}")
    broken[1].unlink()
    with pytest.raises(FileNotFoundError, match=r"1\.png .*is missing; restore it, or") as error:
        data[ItemRequest(1, seed=3)]
    assert str(error.value).endswith(skipping)


def test_a_clip_without_another_frame_is_replaced_by_the_next(broken, capsys):
    data = ClipDataset(index=broken[0], max_unreadable=1, **SETTINGS)
    for _ in range(2):
        skipped, following = data[ItemRequest(1, seed=3)], data[ItemRequest(2, seed=3)]
        assert skipped.tokens == following.tokens
        assert skipped.images_BTNHWC.equal(following.images_BTNHWC)
    assert data[ItemRequest(0, seed=3)].valid_BTN.all()


def test_an_unreadable_frame_of_a_clip_is_a_missing_one(broken):
    whole = ClipDataset(index=broken[0], num_frames=2, max_unreadable=1, **SETTINGS)
    clips = whole[ItemRequest(0, seed=3)]
    assert clips.valid_BTN.flatten().tolist() == [True, False]
    assert not clips.images_BTNHWC[0, 1].any()
    assert clips.tokens[0][1] == ("",)
    assert np.unique(clips.timestamps_BTN[0, 1]).tolist() == [0]


def test_more_than_allowed_are_an_error(broken):
    index, path = broken
    other = path.with_name("3.png")
    other.write_bytes(b"")
    data = ClipDataset(index=index, max_unreadable=1, **SETTINGS)
    assert data[ItemRequest(1, seed=0)].valid_BTN.all()
    with pytest.raises(DataError, match=r"3\.png.* 2 images could not be read, more than max_unr"):
        data[ItemRequest(3, seed=0)]


@pytest.mark.parametrize("most", [-1, 1.5, True, "2"])
def test_the_allowed_number_must_be_a_whole_number(broken, most):
    with pytest.raises(ConfigError, match="max_unreadable"):
        ClipDataset(index=broken[0], max_unreadable=most, **SETTINGS)
