import logging
from types import SimpleNamespace

import cv2
import numpy as np
import pytest
from mmengine.config import Config
from torch.utils.data import SequentialSampler

from drivemim.data import ClipDataset
from drivemim.data.clips.concat import ConcatDataset
from drivemim.data.clips.sampler import SeededDataset, SeededInfiniteSampler
from drivemim.data.index.builders.frames import build_frames_index
from drivemim.data.index.image_shapes import unstretched_size
from drivemim.errors import ConfigError
from drivemim.training import run
from drivemim.training.hooks import ReportClips, report_clips


@pytest.fixture
def index(tmp_path):
    """Two sequences of four and two images, ten images per second."""
    for name, count in (("long", 4), ("short", 2)):
        (tmp_path / name).mkdir()
        for number in range(count):
            image = np.full((16, 16, 3), 90, np.uint8)
            cv2.imwrite(str(tmp_path / name / f"{number}.png"), image)
    return build_frames_index([tmp_path], tmp_path / "index.arrow")


@pytest.fixture
def levels():
    """Return the levels of the logged lines."""
    return []


@pytest.fixture
def lines(monkeypatch, levels):
    """Return the logged lines."""
    found = []

    def print_log(line, logger, level=logging.INFO):
        found.append(line)
        levels.append(level)

    monkeypatch.setattr(report_clips, "print_log", print_log)
    return found


def _train_on(dataset, sampler=None, patch_size=4):
    sampler = sampler or SeededInfiniteSampler(range(1), seed=0)
    loader = SimpleNamespace(dataset=dataset, sampler=sampler)
    model = SimpleNamespace(encoder=SimpleNamespace(mask_patch_size=patch_size))
    runner = SimpleNamespace(train_dataloader=loader, model=model)
    ReportClips().before_train(runner)


def _clips(index, num_frames, **arguments):
    return ClipDataset(index=index, image_size=(16, 16), num_frames=num_frames, **arguments)


def test_one_line_per_data_set_is_logged_before_training(index, lines):
    joined = ConcatDataset.__new__(ConcatDataset)
    joined.datasets = [_clips(index, 2), _clips(index, 2, frame_interval=0.1, drop_incomplete=True)]
    _train_on(joined)
    # 6 clips: the last one of each of the two sequences lacks its second step; 4 are complete.
    assert [line.partition("index.arrow: ")[2] for line in lines] == [
        "6 clips of num_frames=2, frame_interval=None, 1 camera; 83.3% of their 12 frames are "
        "valid (missing: 16.7% after the end of the scene)",
        "4 clips of num_frames=2, frame_interval=0.1, 1 camera; 100.0% of their 8 frames are valid",
    ]


def test_less_than_half_of_the_frames_valid_stops_the_run(index, lines):
    # 6 clips of four steps: 4 + 3 + 2 + 1 frames of the long sequence and 2 + 1 of the short one
    # are valid, of 24.
    _train_on(_clips(index, 4))
    # More steps than the longest sequence has frames are refused.
    with pytest.raises(ConfigError, match="set num_frames=4 or fewer"):
        _clips(index, 5)
    short = _clips(index, 4, scenes=["long"])
    short.clip_starts = short.clip_starts[1:]  # 3 + 2 + 1 of 12 frames are valid
    _train_on(short)
    short.clip_starts = short.clip_starts[1:]  # 2 + 1 of 8 frames are valid
    with pytest.raises(
        ConfigError, match=r"37\.5% of their 8 .*Less than 50%; num_frames: most cl"
    ):
        _train_on(short)
    assert len(lines) == 3


def test_clips_without_seeds_of_their_own_stop_the_run(index):
    clips = _clips(index, 1)
    with pytest.raises(ConfigError, match=r"sampler is a SequentialSampler, .*SeededInfiniteSamp"):
        _train_on(clips, SequentialSampler(clips))
    with pytest.raises(ConfigError, match="set train_dataloader.dataset to the inner data set"):
        _train_on(SeededDataset(dataset=clips))


def test_data_sets_without_clips_are_not_reported(lines):
    _train_on(SimpleNamespace(dataset=[1, 2, 3]))
    assert lines == []


def test_every_training_has_the_hook():
    cfg = Config({"custom_hooks": []})
    run._add_run_hooks(cfg, strict=False)
    assert "drivemim.ReportClips" in [hook["type"] for hook in cfg.custom_hooks]


def test_stretched_images_are_reported(tmp_path, lines):
    """There are 3 images of 16 x 32 pixels, 2 of 16 x 16 and 3 of 16 x 20 (height x width)."""
    for name, width, count in (("wide", 32, 3), ("square", 16, 2), ("near", 20, 3)):
        (tmp_path / name).mkdir()
        for number in range(count):
            image = np.full((16, width, 3), number, np.uint8)
            cv2.imwrite(str(tmp_path / name / f"{number}.png"), image)
    index = build_frames_index([tmp_path], tmp_path / "index.arrow")
    _train_on(_clips(index, 1))
    assert lines[1:] == [
        # The suggested 16 x 20 fits 3 images and stretches the 5 others.
        f"{index}: image_size=(16, 16) (height, width) stretches 75.0% of the images, for example "
        "those of (16, 20), which it makes 1.25 times too high. image_size=(16, 20), "
        "multiples of the encoder's patches of 4 pixels, would stretch 62.5%"
    ]
    lines.clear()
    _train_on(_clips(index, 1, scenes=["square"]))
    assert len(lines) == 1


def test_strongly_stretched_images_are_a_warning(tmp_path, lines, levels):
    for name, width in (("wide", 32), ("near", 20)):
        (tmp_path / name).mkdir()
        cv2.imwrite(str(tmp_path / name / "0.png"), np.full((16, width, 3), 9, np.uint8))
    index = build_frames_index([tmp_path], tmp_path / "index.arrow")
    for name, level in (("wide", logging.WARNING), ("near", logging.INFO)):
        levels.clear()
        _train_on(_clips(index, 1, scenes=[name]))
        assert levels == [logging.INFO, level], name


def test_images_of_many_proportions_get_no_circular_advice(tmp_path, lines):
    """Each of the two sizes would suggest the other one, which stretches as many images."""
    for name, width in (("wide", 32), ("square", 16)):
        (tmp_path / name).mkdir()
        for number in range(2):
            image = np.full((16, width, 3), number, np.uint8)
            cv2.imwrite(str(tmp_path / name / f"{number}.png"), image)
    index = build_frames_index([tmp_path], tmp_path / "index.arrow")
    _train_on(_clips(index, 1))
    assert lines[1].endswith(
        "No size was found that stretches fewer: the images differ in their proportions"
    )


@pytest.mark.parametrize(
    ("stored", "image_size", "patch_size", "expected"),
    [
        # 208 / 368 is within 0.5 % of 9 / 16 and has 7 % more pixels than 224 x 320.
        ((900, 1600), (224, 320), 16, (208, 368)),
        ((1600, 900), (320, 224), 16, (368, 208)),
        # 224 x 288 would have nearly as many pixels, but is 3.6 % too narrow.
        ((480, 640), (192, 320), 32, (192, 256)),
        ((100, 100), (7, 9), 1, (8, 8)),
        ((10, 1000), (16, 16), 16, (16, 1600)),
    ],
)
def test_the_suggested_size_has_the_images_proportions(stored, image_size, patch_size, expected):
    found = unstretched_size(stored, image_size, patch_size)
    assert found == expected
    assert found[0] % patch_size == found[1] % patch_size == 0


@pytest.mark.parametrize(
    ("width", "reported"), [(109, False), (111, True), (91, False), (90, True)]
)
def test_stretching_is_reported_from_ten_percent_in_either_direction(
    tmp_path, lines, width, reported
):
    (tmp_path / "drive").mkdir()
    cv2.imwrite(str(tmp_path / "drive" / "0.png"), np.zeros((100, width, 3), np.uint8))
    index = build_frames_index([tmp_path], tmp_path / "index.arrow")
    _train_on(_clips(index, 1))
    assert len(lines) == 1 + reported
