"""Sequences of frames, and positions within them."""

from pathlib import Path

import pytest

from drivemim.data.index.builders.frames import build_frames_index
from drivemim.data.index.builders.sequences import (
    SceneKey,
    SequenceFrame,
    arrange,
    frame_microseconds,
)
from drivemim.data.index.frame_index import FrameIndex


def frame(name, path, number=None, namespace=None, split="train"):
    source = Path(f"{split}.json")
    return SequenceFrame(SceneKey(split, name), path, (40, 30), source, number, namespace)


def arranged(*frames):
    return [(each.scene, each.number, each.path) for each in arrange(frames)]


def test_numbers_are_kept_and_paths_give_them_where_there_are_none():
    assert arranged(
        frame("s", "x.jpg", 7), frame("s", "y.jpg", 3), frame("t", "10.jpg"), frame("t", "9.jpg")
    ) == [
        (("train", "s"), 3, "y.jpg"), (("train", "s"), 7, "x.jpg"),
        (("train", "t"), 0, "9.jpg"), (("train", "t"), 1, "10.jpg"),
    ]  # fmt: skip


def test_two_frames_at_one_time_are_refused():
    with pytest.raises(ValueError, match=r"a\.jpg and b\.jpg are both frame 3 of .* 's'; number"):
        arrange([frame("s", "a.jpg", 3), frame("s", "c.jpg", 2), frame("s", "b.jpg", 3)])
    assert len(arrange([frame("s", "a.jpg", 3), frame("s", "b.jpg", 3, split="val")])) == 2


def test_a_sequence_with_frame_numbers_for_some_images_only_is_refused():
    with pytest.raises(ValueError, match=r"a\.jpg of .* 's' has a frame number, 3, and b\.jpg has"):
        arrange([frame("s", "b.jpg"), frame("s", "a.jpg", 3)])


def test_a_namespace_is_named_only_where_it_is_needed():
    frames = [frame("s", "a/0.jpg", 0, "a"), frame("s", "b/0.jpg", 0, "b")]
    assert [each[0][1] for each in arranged(*frames)] == ["a/s", "b/s"]
    assert [each[0][1] for each in arranged(frames[0])] == ["s"]
    top = frame("s", "0.jpg", 0, ".")
    assert [each[0][1] for each in arranged(top, frames[1])] == ["b/s", "s"]


def test_a_sequence_and_a_folder_of_one_name_are_refused():
    """A sequence ``x`` and a folder ``x``."""
    with pytest.raises(ValueError, match=r"x/0\.jpg and another one are both called 'x' in the"):
        arrange([frame("x", "y/0.jpg", 0, "."), frame("x", "x/0.jpg")])


def test_a_folder_with_the_name_of_the_root_is_a_sequence_of_its_own(put_images, tmp_path):
    put_images("drives/0.jpg", "drives/drives/0.jpg", "drives/drives/1.jpg")
    index = FrameIndex.open(build_frames_index([tmp_path / "drives"], tmp_path / "index.arrow"))
    assert list(index.scenes.name) == [".", "drives"]
    assert list(index.frames.path) == ["0.jpg", "drives/0.jpg", "drives/1.jpg"]


def timed(*numbers, rate=10.0):
    """Times of the frames of one sequence, in the order of their numbers."""
    frames = arrange([frame("s", f"{number}.jpg", number) for number in numbers])
    return frame_microseconds(frames, rate).tolist()


def test_times_count_from_the_first_frame_of_a_sequence():
    assert timed(7, 9, 12) == [0, 200_000, 500_000]
    assert timed(-5, -4, 0) == [0, 100_000, 500_000]
    assert timed(20231128000001, 20231128000002, rate=30) == [0, 33_333]  # a date and a count
    assert timed(1700000000000000000) == [0]
    two = arrange([frame("s", "a.jpg", 7), frame("t", "b.jpg", 40), frame("t", "c.jpg", 41)])
    assert frame_microseconds(two, 10).tolist() == [0, 0, 100_000]


@pytest.mark.parametrize(
    ("first", "step", "unit"),
    [(1700000000000000000, 10**8, "nano"), (1700000000000000, 10**5, "micro"),
     (1700000000000, 100, "milli"), (2**70, 10**8, "nano")],
)  # fmt: skip
def test_timestamps_are_not_frame_numbers(first, step, unit):
    with pytest.raises(ValueError, match=rf"frame {first} of .* 's' .* in {unit}seconds; number"):
        timed(*(first + k * step for k in range(4)))


def test_numbers_too_far_apart_for_an_index_are_refused():
    """2^63 microseconds are 9.2e12 seconds, so 9.2e13 frames at 10 a second."""
    assert timed(0, 9 * 10**13) == [0, 9 * 10**18]
    with pytest.raises(ValueError, match=r"frames 0 and 95000000000000 of .* 's' are too far apar"):
        timed(0, 95 * 10**12)
