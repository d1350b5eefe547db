"""Samples of scenes without samples of their own, by hand."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from drivemim.data.index.builders.scene_samples import LARGEST_LAG, assign_samples, nearest


def _assign(frames, moments):
    """Assign images (camera, milliseconds) to samples; times come back in milliseconds."""
    camera, time = np.array(frames, np.int64).reshape(-1, 2).T
    found = assign_samples(1000 * time, camera, 1000 * np.array(moments, np.int64))
    assert (found.timestamp % 1000 == 0).all()
    return (found.timestamp // 1000).tolist(), *(
        each.tolist() for each in (found.of_frame, found.annotated, found.listed)
    )


def test_images_between_annotated_moments_are_sweeps_of_the_later_one():
    times, sample, annotated, listed = _assign([(0, t) for t in range(0, 501, 100)], [0, 500])
    assert times == [0, 500]
    assert sample == [0, 1, 1, 1, 1, 1]
    assert annotated == listed == [True, False, False, False, False, True]


def test_a_camera_that_is_not_synchronised_has_its_nearest_image():
    # The second camera is 45 ms late; its image at 545 ms comes after the last moment.
    frames = [(0, t) for t in range(0, 501, 100)] + [(1, t) for t in range(45, 550, 100)]
    times, sample, annotated, _ = _assign(frames, [0, 500])
    assert times == [0, 500]
    assert sample[6:] == [0, 1, 1, 1, 1, 1]
    assert annotated[6:] == [True, False, False, False, False, True]


def test_an_image_near_two_moments_belongs_to_the_nearer_one():
    times, sample, annotated, _ = _assign([(0, 0), (0, 1000)], [0, 40])
    assert times == [0, 40, 1000]
    assert sample == [0, 2]
    assert annotated == [True, False]
    assert _assign([(0, 30)], [0, 40])[1] == [1]


def test_images_without_moments_around_them_are_samples_without_boxes():
    # Before the first moment, after the last, and in a stretch of 2 s.
    frames = [(0, t) for t in range(0, 4000, 500)]
    times, sample, annotated, listed = _assign(frames, [500, 1000, 3000])
    assert times == list(range(0, 4000, 500))
    assert sample == list(range(8))
    assert annotated == [False, True, True, False, False, False, True, False]
    assert all(listed)


def test_an_image_too_far_from_its_moment_is_a_sweep():
    far = LARGEST_LAG // 1000 + 1
    _, sample, annotated, listed = _assign([(0, 0), (0, 1000 - far)], [0, 1000])
    assert (sample, annotated, listed) == ([0, 1], [True, False], [True, False])


def test_a_scene_without_boxes_has_a_sample_for_each_step():
    # Three cameras that take their images in turn, at 10 Hz; one drops out once.
    frames = [(c, 100 * t + 33 * c) for t in range(4) for c in range(3) if (c, t) != (1, 2)]
    times, sample, annotated, listed = _assign(frames, [])
    assert times == [0, 100, 200, 300]
    assert sample == [0, 0, 0, 1, 1, 1, 2, 2, 3, 3, 3]
    assert not any(annotated)
    assert all(listed)


def test_no_group_has_images_on_both_sides_of_a_moment():
    """Two cameras at 2 Hz are 130 ms away from it, on its two sides; a third has its keyframe."""
    frames = [(0, 900), (0, 1400), (1, 1160), (1, 1660), (2, 1050)]
    times, sample, annotated, _ = _assign(frames, [1030])
    assert annotated == [False, False, False, False, True]
    assert times == [900, 1030, 1160, 1660]
    assert sample == [0, 2, 2, 3, 1]
    # Without the moment they are one step.
    assert _assign(frames, [])[:2] == ([900, 1400], [0, 1, 0, 1, 0])


def test_a_fast_and_a_slow_camera():
    frames = [(0, 33 * t) for t in range(6)] + [(1, 0), (1, 100)]
    times, sample, _, _ = _assign(frames, [])
    assert times == [0, 33, 66, 99, 132, 165]
    assert sample == [0, 1, 2, 3, 4, 5, 0, 3]


def test_single_images_and_empty_scenes():
    assert _assign([(0, 0), (1, 20)], [])[:2] == ([0], [0, 0])
    assert _assign([], []) == ([], [], [], [])
    assert _assign([], [0, 500])[0] == [0, 500]


def test_nearest_by_hand():
    times = np.array([0, 100, 300])
    assert nearest(times, np.array([-10, 49, 51, 200, 310]), 100).tolist() == [0, 0, 1, 1, 2]
    assert nearest(times, np.array([-11, 311]), 10).tolist() == [-1, -1]
    assert nearest(times[:0], np.array([1]), 10).tolist() == [-1]


@given(
    st.sets(st.tuples(st.integers(0, 3), st.integers(0, 3000)), max_size=60),
    st.sets(st.integers(0, 3000), max_size=8),
)
def test_every_image_has_a_sample_and_no_camera_two_in_one(frames, moments):
    frames, moments = sorted(frames), sorted(moments)
    times, sample, annotated, listed = _assign(frames, moments)
    assert times == sorted(set(times))
    assert set(moments) <= set(times)
    assert len(sample) == len(frames)
    assert all(0 <= each < len(times) for each in sample)
    in_samples = [
        (each, camera) for each, (camera, _), is_in in zip(sample, frames, listed, strict=True)
        if is_in
    ]  # fmt: skip
    assert len(set(in_samples)) == len(in_samples)
    # No sample has images on both sides of an annotated moment, except for its own keyframes.
    for moment in moments:
        early = [s for s, (_, t), key in zip(sample, frames, annotated, strict=True)
                 if t < moment and not key]  # fmt: skip
        late = [s for s, (_, t), key in zip(sample, frames, annotated, strict=True)
                if t > moment and not key]  # fmt: skip
        assert not set(early) & set(late)
    for each, (_, time), key in zip(sample, frames, annotated, strict=True):
        if key:
            assert times[each] in moments
            assert abs(times[each] - time) <= LARGEST_LAG // 1000
