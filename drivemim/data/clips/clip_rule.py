"""The rule that selects the frames of a clip: T time steps x N cameras, as rows of the index.

Letters: A clips.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from drivemim.array_types import Bools, Ints
from drivemim.data.index.frame_index import FrameIndex
from drivemim.data.index.index_schema import time_keys

MICROSECONDS = 1_000_000
"""Microseconds per second."""


@dataclass(frozen=True, eq=False)
class ClipRule:
    """The rule that maps a sample to the frames of the clip that begins at this sample.

    Attributes:
        index: the data set.
        cameras: (N,) positions in ``index.cameras``, in the clip's order.
        num_frames: T, number of time steps.
        frame_interval: seconds between time steps: each step has the camera's frame nearest to the
            step's time, at most half an interval away. None for consecutive samples, that is, for
            keyframes only.
    """

    index: FrameIndex
    cameras: Ints
    num_frames: int
    frame_interval: float | None = None

    def __post_init__(self) -> None:
        if self.num_frames < 1:
            raise ValueError(f"num_frames is {self.num_frames}; a clip has at least 1")
        if self.frame_interval is not None and not 0 < self.frame_interval < np.inf:
            raise ValueError(
                f"frame_interval is {self.frame_interval} s; use seconds above 0, or None"
            )

    def rows(self, samples: Ints) -> Ints:
        """Return the frames of the clips that begin at samples.

        Args:
            samples: (A,) rows of ``index.samples``.

        Returns:
            (A, T, N) rows of ``index.frames``; -1 if a camera has no frame or the scene has ended.
        """
        samples = np.asarray(samples, np.int64)
        if self.frame_interval is None or len(self.index.frames) == 0:
            return self._keyframes(samples)
        return self._nearest(samples, self.frame_interval)

    def _keyframes(self, samples: Ints) -> Ints:
        """Return the frames (A, T, N) of the consecutive samples that begin at ``samples``."""
        step_AT = samples[:, None] + np.arange(self.num_frames)
        inside_AT = self._before_end(samples)
        safe_AT = np.where(inside_AT, step_AT, samples[:, None])
        rows_ATN = self.index.samples.keyframes[safe_AT[..., None], self.cameras]
        return np.where(inside_AT[..., None], rows_ATN, -1)

    def cameras_and_steps(self, samples: Ints) -> tuple[Bools, Bools]:
        """Return which cameras a scene has, and which steps are before the end.

        Args:
            samples: (A,) rows of ``index.samples``.

        Returns:
            (A, N) True if the scene has any frame of the camera, and (A, T, N) True if the step is
            not after the scene's last sample (without ``frame_interval``), or at most half an
            interval after the camera's last frame (with it).
        """
        scenes, scene_A = self.index.scenes, self.index.samples.scene[samples]
        count_AN = scenes.frame_count[scene_A[:, None], self.cameras]
        if self.frame_interval is None or len(self.index.frames) == 0:
            inside_ATN = np.repeat(self._before_end(samples)[..., None], len(self.cameras), axis=2)
            return count_AN > 0, inside_ATN
        last_AN = scenes.first_frame[scene_A[:, None], self.cameras] + np.maximum(count_AN, 1) - 1
        last_AN = np.minimum(last_AN, len(self.index.frames) - 1)
        latest_AN = self.index.frames.timestamp[last_AN] + self.frame_interval * MICROSECONDS / 2
        return count_AN > 0, self._step_times(samples, self.frame_interval) <= latest_AN[:, None]

    def _before_end(self, samples: Ints) -> Bools:
        """Return whether each step (A, T) is at most its scene's last sample."""
        scenes, scene_A = self.index.scenes, self.index.samples.scene[samples]
        end_A = scenes.first_sample[scene_A] + scenes.sample_count[scene_A]
        before_AT: Bools = samples[:, None] + np.arange(self.num_frames) < end_A[:, None]
        return before_AT

    def _step_times(self, samples: Ints, frame_interval: float) -> Ints:
        """Return the time of each step for each camera: (A, T, N), microseconds."""
        index = self.index
        # A camera's first step is its own keyframe, which can be 50 ms off the sample's time.
        key_AN = index.samples.keyframes[samples[:, None], self.cameras]
        start_AN = np.where(
            key_AN >= 0,
            index.frames.timestamp[np.maximum(key_AN, 0)],
            index.samples.timestamp[samples][:, None],
        )
        offset_T = np.round(np.arange(self.num_frames) * frame_interval * MICROSECONDS).astype(
            np.int64
        )
        time_ATN: Ints = start_AN[:, None] + offset_T[:, None]
        return time_ATN

    def _nearest(self, samples: Ints, frame_interval: float) -> Ints:
        """Return the frames (A, T, N) nearest to the times of the steps."""
        index = self.index
        scene_A = index.samples.scene[samples]
        low_AN = index.scenes.first_frame[scene_A[:, None], self.cameras]
        high_AN = low_AN + index.scenes.frame_count[scene_A[:, None], self.cameras]
        time_ATN = self._step_times(samples, frame_interval)
        sequence_AN = scene_A[:, None].astype(np.int64) * len(index.cameras) + self.cameras
        after_ATN = self._search(sequence_AN[:, None], low_AN[:, None], time_ATN)
        before_ATN = after_ATN - 1
        last = len(index.frames) - 1
        gap_before = time_ATN - index.frames.timestamp[np.clip(before_ATN, 0, last)]
        gap_after = index.frames.timestamp[np.clip(after_ATN, 0, last)] - time_ATN
        half = frame_interval * MICROSECONDS / 2
        # Half-open interval, so that no frame can be nearest to two steps.
        near_before = (before_ATN >= low_AN[:, None]) & (gap_before <= half)
        near_after = (after_ATN < high_AN[:, None]) & (gap_after < half)
        choose_after = near_after & (~near_before | (gap_after < gap_before))
        return np.where(choose_after, after_ATN, np.where(near_before, before_ATN, -1))

    def _search(self, sequence: Ints, first: Ints, time: Ints) -> Ints:
        """Find the first frame of a camera at or after a time, by one search in all frames' keys.

        Args:
            sequence: number of scene and camera: scene * number of cameras + camera.
            first: row of the first frame of the camera in the scene.
            time: microseconds.

        Returns:
            rows of ``index.frames``, one past the camera's last frame if none is late enough.
        """
        frames = self.index.frames
        start = frames.timestamp[np.minimum(first, len(frames) - 1)]
        keys = time_keys(sequence, time - start)
        return np.searchsorted(frames.key, keys).astype(np.int64)
