import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from drivemim.data.clips.clip_rule import ClipRule
from drivemim.data.index.frame_index import FrameIndex


def _rule(path, num_frames, frame_interval=None, cameras=None):
    index = FrameIndex.open(path)
    return ClipRule(index, index.camera_numbers(cameras), num_frames, frame_interval)


def test_keyframes_of_following_samples(small_index):
    rows = _rule(small_index, 2).rows(np.array([3, 5, 2]))
    assert rows.tolist() == [
        [[8, 16], [11, 19]],
        [[14, 22], [-1, -1]],  # the scene ends
        [[-1, 6], [-1, -1]],  # no rear camera, and the next sample is another scene's
    ]


def test_cameras_in_the_requested_order(small_index):
    rule = _rule(small_index, 1, cameras=["CAM_FRONT", "CAM_BACK"])
    assert rule.rows(np.array([3])).tolist() == [[[16, 8]]]
    assert _rule(small_index, 1, cameras=["CAM_BACK"]).rows(np.array([0])).tolist() == [[[-1]]]


def test_sweeps_nearest_to_the_spacing(small_index):
    # Frames every 1/6 s: of steps of 0.15 s, the third (0.45 s) is nearest to frame 3 (0.5 s).
    rule = _rule(small_index, 4, 0.15, ["CAM_FRONT"])
    assert rule.rows(np.array([3]))[0, :, 0].tolist() == [16, 17, 18, 19]
    # Steps of 0.5 s are the keyframes; one frame follows the last at 1.167 s, not near 1.5 s.
    rule = _rule(small_index, 4, 0.5, ["CAM_FRONT"])
    assert rule.rows(np.array([3]))[0, :, 0].tolist() == [16, 19, 22, -1]


def test_a_step_without_a_frame_near_is_missing(small_index):
    # 0.05 s apart: steps at 0.05 and 0.10 s are more than 25 ms from frames at 0 and 0.167 s.
    rule = _rule(small_index, 4, 0.05, ["CAM_FRONT"])
    assert rule.rows(np.array([3]))[0, :, 0].tolist() == [16, -1, -1, 17]


def _by_definition(rule, sample):
    index, frames = rule.index, rule.index.frames
    half = rule.frame_interval * 1e6 / 2
    result = np.full((rule.num_frames, len(rule.cameras)), -1)
    for n, camera in enumerate(rule.cameras):
        mine = np.flatnonzero(
            (frames.camera == camera) & (frames.scene == index.samples.scene[sample])
        )
        key = [row for row in mine if frames.keyframe[row] and frames.sample[row] == sample]
        start = frames.timestamp[key[0]] if key else index.samples.timestamp[sample]
        for t in range(rule.num_frames):
            late = frames.timestamp[mine] - (start + round(t * rule.frame_interval * 1e6))
            near = np.flatnonzero((late >= -half) & (late < half))
            if len(near):
                result[t, n] = mine[near[np.argmin(np.abs(late[near]))]]
    return result


@settings(deadline=None, max_examples=60)
@given(frame_interval=st.floats(0.01, 2.0), num_frames=st.integers(1, 6))
def test_sweeps_agree_with_the_definition(small_index, frame_interval, num_frames):
    rule = _rule(small_index, num_frames, frame_interval)
    rows = rule.rows(np.arange(6))
    for sample in range(6):
        np.testing.assert_array_equal(rows[sample], _by_definition(rule, sample))
    found = rows[rows >= 0].reshape(-1)
    assert found.max() < 24
    for clip in rows:
        used = clip[clip >= 0]
        assert len(np.unique(used)) == len(used)


def test_meaningless_settings_are_refused(small_index):
    with pytest.raises(ValueError, match="num_frames is 0"):
        _rule(small_index, 0)
    with pytest.raises(ValueError, match=r"frame_interval is 0\.0 s"):
        _rule(small_index, 1, 0.0)
    for interval in (float("nan"), float("inf")):
        with pytest.raises(
            ValueError, match=f"frame_interval is {interval} s; use seconds above 0"
        ):
            _rule(small_index, 1, interval)
