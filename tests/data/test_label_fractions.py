"""Fractions of the labels: whole scenes and one run, nested, and independent of the process."""

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.utils.data import DataLoader

from drivemim.data.clips.sampler import SeededDataset, SeededInfiniteSampler
from drivemim.data.detection.detection_dataset import FrameDetection
from drivemim.data.detection.label_fractions import label_subset
from drivemim.errors import ConfigError


def frames_of(lengths, cameras=1, rate=2.0):
    """Scene, moment and time of each frame, camera by camera within a scene as in an index."""
    scenes, moments, times, first = [], [], [], 0
    for scene, length in enumerate(lengths):
        for camera in range(cameras):
            scenes += [scene] * length
            moments += range(first, first + length)
            times += [10**15 + 5_000 * camera + round(1e6 * k / rate) for k in range(length)]
        first += length
    return np.array(scenes), np.array(moments), np.array(times)


lengths = st.lists(st.integers(1, 12), min_size=1, max_size=7)
fractions = st.floats(0.001, 1.0)
seeds = st.integers(0, 1000)


@given(lengths=lengths, cameras=st.integers(1, 3), fraction=fractions, seed=seeds)
@settings(max_examples=200, deadline=None)
def test_the_count_is_right_and_all_but_one_scene_are_whole(lengths, cameras, fraction, seed):
    scenes, moments, times = frames_of(lengths, cameras)
    chosen = label_subset(scenes, moments, times, fraction=fraction, seed=seed)
    taken = np.unique(moments[chosen])
    assert len(taken) == max(1, round(fraction * sum(lengths)))
    # All cameras of a moment are in it together.
    assert chosen.sum() == cameras * len(taken)
    counts = [len(np.unique(moments[chosen & (scenes == s)])) for s in range(len(lengths))]
    partial = [
        s for s, (count, length) in enumerate(zip(counts, lengths, strict=True))
        if 0 < count < length
    ]  # fmt: skip
    assert len(partial) <= 1
    for scene in partial:
        own = np.unique(moments[chosen & (scenes == scene)])
        assert own.max() - own.min() == len(own) - 1


@given(lengths=lengths, small=fractions, large=fractions, seed=seeds)
@settings(max_examples=200, deadline=None)
def test_a_smaller_fraction_is_part_of_a_larger_one(lengths, small, large, seed):
    small, large = sorted((small, large))
    frames = frames_of(lengths)
    inner = label_subset(*frames, fraction=small, seed=seed)
    outer = label_subset(*frames, fraction=large, seed=seed)
    assert not (inner & ~outer).any()


def test_camvid_and_the_town_by_hand():
    # 204 + 101 + 62 frames: 1 % of 367 is 3.67, 10 % 36.7; 8 x 17 moments: 1 % is 1.36.
    camvid, town = frames_of([204, 101, 62], rate=1.0), frames_of([17] * 8, cameras=6)
    for seed in range(5):
        sizes = [label_subset(*camvid, fraction=s, seed=seed).sum() for s in (0.01, 0.1, 1.0)]
        assert sizes == [4, 37, 367]
        sizes = [
            label_subset(*town, fraction=s, seed=seed).sum() for s in (0.001, 0.01, 0.125, 0.5)
        ]
        assert sizes == [6, 6, 6 * 17, 6 * 68]
    # An eighth of the town is one whole scene.
    chosen = label_subset(*town, fraction=0.125, seed=3)
    assert len(set(town[0][chosen])) == 1


@pytest.mark.parametrize("cameras", [1, 6])
def test_a_long_recording_is_cut_into_scenes(cameras):
    # 100 s and 20 s at 2 Hz: five scenes of 20 s (40 moments, the last one 41) and one of 41.
    frames = frames_of([201, 41], cameras=cameras)
    starts = set()
    for seed in range(40):
        taken = np.unique(frames[1][label_subset(*frames, fraction=40 / 242, seed=seed)])
        assert len(taken) == 40
        assert taken[-1] - taken[0] == 39  # One run, within one scene:
        start = 201 if taken[0] >= 201 else taken[0] // 40 * 40
        assert taken[0] - start <= 1
        starts.add(int(start))
    assert starts == {0, 40, 80, 120, 160, 201}


def test_a_scene_of_nuscenes_length_is_left_whole():
    # 39 to 41 keyframes at 2 Hz; 29 s would still be one scene, 31 s two.
    for length, parts in ((39, 1), (41, 1), (59, 1), (64, 2)):
        frames = frames_of([length])
        half = length // 2
        first = {label_subset(*frames, fraction=half / length, seed=s).argmax() for s in range(200)}
        assert (len(first) > 2) == (parts == 1)


def test_seeds_differ_in_scenes_and_in_the_run():
    frames = frames_of([20] * 6)
    subsets = {
        tuple(np.flatnonzero(label_subset(*frames, fraction=0.05, seed=s))) for s in range(20)
    }
    assert len(subsets) > 15
    assert len({run[0] // 20 for run in subsets}) == 6


def test_only_the_order_of_scene_and_moment_numbers_matters():
    scenes, moments, times = frames_of([5, 9, 4])
    chosen = label_subset(scenes, moments, times, fraction=0.4, seed=1)
    other = label_subset(7 + 3 * scenes, 100 + 2 * moments, times + 10**9, fraction=0.4, seed=1)
    assert (chosen == other).all()


@pytest.mark.parametrize("fraction", [0.0, -0.1, 1.01, float("nan")])
def test_a_fraction_out_of_range_is_named(fraction):
    with pytest.raises(ConfigError, match=f"label_fraction={fraction}"):
        label_subset(*frames_of([3]), fraction=fraction, seed=0)
    with pytest.raises(ConfigError, match="label_seed=-1"):
        label_subset(*frames_of([3]), fraction=0.5, seed=-1)


def test_a_subset_of_no_frames_is_refused():
    assert label_subset(*frames_of([]), fraction=0.5, seed=0).shape == (0,)


class TestDataSet:
    """The town of two scenes: one camera of three samples, two cameras of three samples."""

    def test_frames_of_a_fraction(self, small_index):
        whole = FrameDetection(index=small_index, filters={})
        assert len(whole) == 9
        for seed in range(4):
            half = FrameDetection(
                index=small_index, filters={}, label_fraction=0.5, label_seed=seed
            )
            samples = half.index.frames.sample[half.rows]
            assert len(set(samples)) == 3
            expected = np.isin(whole.index.frames.sample[whole.rows], samples)
            assert half.rows.tolist() == whole.rows[expected].tolist()

    def test_the_fraction_applies_to_the_other_selection(self, small_index):
        one = {"index": small_index, "filters": {}, "scenes": ["scene-0061"]}
        assert len(FrameDetection(**one, label_fraction=0.3)) == 2
        front = FrameDetection(**one, cameras=["CAM_FRONT"], label_fraction=0.6)
        assert len(front) == 2
        assert len(FrameDetection(**one, label_fraction=1.0, indices=4)) == 4

    def test_fewer_frames_than_a_batch_are_seen_again_and_again(self, small_index):
        dataset = FrameDetection(
            index=small_index,
            filters={},
            cameras=["CAM_FRONT"],
            label_fraction=0.3,
            pipeline=[lambda info: info["img_id"]],
        )
        assert len(dataset) == 2
        seeded = SeededDataset(dataset=dataset)
        loader = DataLoader(seeded, batch_size=8, sampler=SeededInfiniteSampler(seeded, seed=0))
        batches = iter(loader)
        for _ in range(3):
            rows, counts = np.unique(next(batches).numpy(), return_counts=True)
            assert rows.tolist() == sorted(dataset.rows.tolist())
            assert counts.tolist() == [4, 4]

    def test_a_bad_fraction_is_refused_when_the_data_is_opened(self, small_index):
        with pytest.raises(ConfigError, match="label_fraction=2"):
            FrameDetection(index=small_index, filters={}, label_fraction=2.0)


def test_the_images_of_a_label_fraction_exist(small_root, small_index):
    dataset = FrameDetection(index=small_index, filters={}, label_fraction=0.01)
    for number in range(len(dataset)):
        assert cv2.imread(dataset.get_data_info(number)["img_path"]) is not None
