"""Statistics of the valid and the missing frames of clips, with the reasons for missing frames.

Letters: A clips, C cameras of the rule that makes the clips.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from drivemim.array_types import Ints
from drivemim.data.clips.clip_rule import MICROSECONDS, ClipRule
from drivemim.data.index.frame_index import FrameIndex
from drivemim.data.index.frame_keys import frames_in_samples
from drivemim.data.index.image_shapes import Stretch, describe_stretched
from drivemim.errors import ConfigError

MIN_VALID_FRACTION = 0.5
"""Least fraction of the clips' frames that must be valid; a run with less stops with an error."""
_CHUNK = 4096
"""Number of clips processed at a time; limits the memory for a whole data set."""


@dataclass(frozen=True, kw_only=True, eq=False)
class ClipSet:
    """The clips of a data set.

    Attributes:
        rule: the rule that selects the frames of a clip.
        clip_starts: (A, 2) row in ``index.samples`` where each clip begins, and position of its
            camera in ``rule.cameras``. Without ``single_camera`` the position is 0 and not used.
        single_camera: whether each clip has a single camera.
    """

    rule: ClipRule
    clip_starts: Ints
    single_camera: bool

    def chunks(self) -> Iterator[tuple[Ints, Ints]]:
        """Yield chunks of clips.

        Yields:
            rows in ``index.samples`` where the clips begin, (A,); and the clips' cameras as
            positions in ``rule.cameras``, (A, N).
        """
        cameras = np.arange(len(self.rule.cameras))
        for at in range(0, len(self.clip_starts), _CHUNK):
            sample, camera = self.clip_starts[at : at + _CHUNK].T
            yield (
                sample,
                camera[:, None]
                if self.single_camera
                else cameras[None].repeat(len(sample), axis=0),
            )


@dataclass(frozen=True, kw_only=True, eq=False)
class ClipCoverage:
    """Numbers of valid frames of clips, and of missing frames by their cause.

    Attributes:
        clips: number of clips.
        cameras: N, number of cameras of a clip.
        valid_T: number of valid frames at each time step.
        absent_T: number of frames missing because their camera has no frame in the scene.
        ended_T: number of frames missing because the scene has ended.
        skipped_T: number of frames missing for any other reason: the scene goes on and has frames
            of the camera, but none near the time step.
        valid_C: number of valid frames of each camera of the rule.
        requested_C: number of frames of each camera that the clips contain, valid or not.
    """

    clips: int
    cameras: int
    valid_T: Ints
    absent_T: Ints
    ended_T: Ints
    skipped_T: Ints
    valid_C: Ints
    requested_C: Ints

    @property
    def frames(self) -> int:
        """Number of frames that the clips contain, valid or not."""
        return self.clips * self.cameras * len(self.valid_T)

    @property
    def fraction(self) -> float:
        """Fraction of the frames that is valid; 0 if there are none."""
        return int(self.valid_T.sum()) / max(self.frames, 1)


def measure_coverage(clips: ClipSet) -> ClipCoverage:
    """Count the frames of all clips."""
    T, C = clips.rule.num_frames, len(clips.rule.cameras)
    by_step = np.zeros((4, T), np.int64)
    valid_C, requested_C = np.zeros(C, np.int64), np.zeros(C, np.int64)
    for sample, camera_AN in clips.chunks():
        valid_ATN, has_camera_AN, before_end_ATN = _frame_states(clips.rule, sample, camera_AN)
        absent = ~valid_ATN & ~has_camera_AN[:, None]
        ended = ~valid_ATN & ~absent & ~before_end_ATN
        skipped = ~valid_ATN & ~absent & ~ended
        states = (valid_ATN, absent, ended, skipped)
        by_step += [state_ATN.sum(axis=(0, 2)) for state_ATN in states]
        np.add.at(valid_C, camera_AN, valid_ATN.sum(axis=1))
        np.add.at(requested_C, camera_AN, T)
    valid_T, absent_T, ended_T, skipped_T = by_step
    return ClipCoverage(
        clips=len(clips.clip_starts),
        cameras=1 if clips.single_camera else C,
        valid_T=valid_T,
        absent_T=absent_T,
        ended_T=ended_T,
        skipped_T=skipped_T,
        valid_C=valid_C,
        requested_C=requested_C,
    )


def check_steps(clips: ClipSet) -> None:
    """Check that every time step has a valid frame in at least one clip.

    Raises:
        ConfigError: if a time step has none; names it and the settings to change.
    """
    has_frame_T = np.zeros(clips.rule.num_frames, bool)
    for sample, camera_AN in clips.chunks():
        has_frame_T |= _frame_states(clips.rule, sample, camera_AN)[0].any(axis=(0, 2))
        if has_frame_T.all():
            return
    step = int(np.flatnonzero(~has_frame_T)[0])
    rule = clips.rule
    if measure_coverage(clips).skipped_T[step]:
        fix = _gap_hint(clips)
    elif rule.frame_interval is None:
        fix = f"no scene has more samples than {step}: set num_frames={step} or fewer"
    else:
        fix = (
            f"every scene has ended by then: set num_frames={step} or fewer, or a frame_interval "
            f"below {rule.frame_interval:g}"
        )
    raise ConfigError(
        f"{rule.index.path}: no clip of {_settings(rule)} has a frame at step {step}"
        f"{_seconds(rule, step)}; {fix}"
    )


def describe_coverage(clips: ClipSet, coverage: ClipCoverage) -> str:
    """Return one line: the number of clips and the fraction of their frames that is valid."""
    reasons = (
        (coverage.ended_T, "after the end of the scene"),
        (coverage.absent_T, "of cameras that the scene does not have"),
        (coverage.skipped_T, "not near the step"),
    )
    missing = ", ".join(
        f"{int(count.sum()) / max(coverage.frames, 1):.1%} {words}"
        for count, words in reasons
        if count.any()
    )
    return (
        f"{clips.rule.index.path}: {coverage.clips:,} clips of {_settings(clips.rule)}, "
        f"{coverage.cameras} {'camera' if coverage.cameras == 1 else 'cameras'}; "
        f"{coverage.fraction:.1%} of their {coverage.frames:,} frames are valid"
        + (f" (missing: {missing})" if missing else "")
    )


def check_valid_fraction(clips: ClipSet, coverage: ClipCoverage) -> None:
    """Check that at least ``MIN_VALID_FRACTION`` of the clips' frames are valid.

    Raises:
        ConfigError: if fewer are; names the fraction and the most frequent cause.
    """
    if coverage.fraction >= MIN_VALID_FRACTION:
        return
    rule = clips.rule
    causes = {
        "cameras": int(coverage.absent_T.sum()),
        "num_frames": int(coverage.ended_T.sum()),
        "frame_interval": int(coverage.skipped_T.sum()),
    }
    cause = max(causes, key=lambda name: causes[name])
    if cause == "cameras":
        fraction_C = coverage.valid_C / np.maximum(coverage.requested_C, 1)
        rare = [
            camera for camera in np.argsort(fraction_C) if fraction_C[camera] < MIN_VALID_FRACTION
        ]
        names = ", ".join(
            f"{rule.index.cameras[rule.cameras[camera]]} {fraction_C[camera]:.1%}"
            for camera in rare[:6]
        )
        why = (
            f"cameras: most scenes lack some (valid: {names}); set cameras to those that they "
            "have, scenes to those that have them, or single_camera=True"
        )
    elif cause == "num_frames":
        why = (
            f"num_frames: most clips of {_settings(rule)} reach past the end of their scene; "
            "set drop_incomplete=True, a smaller num_frames or a smaller frame_interval"
        )
    else:
        why = f"frame_interval: {_gap_hint(clips)}"
    raise ConfigError(
        f"{describe_coverage(clips, coverage)}. Less than {MIN_VALID_FRACTION:.0%}; {why}"
    )


def _frame_states(
    rule: ClipRule, sample: Ints, camera_AN: Ints
) -> tuple[NDArray[np.bool_], NDArray[np.bool_], NDArray[np.bool_]]:
    """Return the states of the frames of clips.

    Args:
        rule: the rule that selects the frames.
        sample: (A,) rows in ``index.samples`` where the clips begin.
        camera_AN: cameras of the clips, as positions in ``rule.cameras``.

    Returns:
        (A, T, N) whether the frame is valid; (A, N) whether the scene has frames of the camera;
        (A, T, N) whether the scene has not ended at the time step.
    """
    has_camera_AC, before_end_ATC = rule.cameras_and_steps(sample)
    column_A1N = camera_AN[:, None]
    return (
        np.take_along_axis(rule.rows(sample) >= 0, column_A1N, axis=2),
        np.take_along_axis(has_camera_AC, camera_AN, axis=1),
        np.take_along_axis(before_end_ATC, column_A1N, axis=2),
    )


def _settings(rule: ClipRule) -> str:
    """Return the rule's settings, for messages."""
    return f"num_frames={rule.num_frames}, frame_interval={rule.frame_interval}"


def _seconds(rule: ClipRule, step: int) -> str:
    """Return the time of a step as the end of a phrase, for messages; empty if it is not fixed."""
    seconds = rule.frame_interval
    return "" if seconds is None else f" ({step * seconds:g} s after its first)"


def _gap_hint(clips: ClipSet) -> str:
    """Return advice for clips whose cameras have gaps inside a scene."""
    index, cameras = clips.rule.index, clips.rule.cameras
    if clips.rule.frame_interval is None:
        return "the cameras lack keyframes there: set frame_interval (seconds), which adds sweeps"
    scenes = np.unique(index.samples.scene[clips.clip_starts[:, 0]])
    gap, keyframes_only = _camera_gap(index, scenes, cameras)
    if gap is None:
        return "no camera has two frames in a scene: set num_frames=1"
    source = ", keyframes without sweeps" if keyframes_only else ""
    return (
        f"a camera's frames are {gap:.3g} s apart (median{source}): set frame_interval={gap:.3g}, "
        "or None for one sample after the other"
        f"{', or index the sweeps too' if keyframes_only else ''}"
    )


def _camera_gap(index: FrameIndex, scenes: Ints, cameras: Ints) -> tuple[float | None, bool]:
    """Return the median seconds between a camera's frames, and whether all are keyframes.

    The median is None if no camera has two frames in a scene.
    """
    frames = index.frames
    chosen = np.isin(frames.scene, scenes) & np.isin(frames.camera, cameras)
    row = np.flatnonzero(chosen & (frames.next >= 0))
    gaps = frames.timestamp[frames.next[row]] - frames.timestamp[row]
    median = float(np.median(gaps)) / MICROSECONDS if len(gaps) else None
    return median, bool(frames.keyframe[chosen].all())


def describe_stretch(
    clips: ClipSet, image_size: tuple[int, int], patch_size: int
) -> Stretch | None:
    """Describe images that ``image_size`` stretches by more than 10 %; see ``describe_stretched``.

    Args:
        clips: the clips; all images of their scenes and cameras are tested.
        image_size: height and width that the images are resized to, pixels.
        patch_size: number that height and width must be a multiple of, pixels.
    """
    index, rule = clips.rule.index, clips.rule
    scenes = np.unique(index.samples.scene[clips.clip_starts[:, 0]])
    frames = index.frames
    used = np.isin(frames.scene, scenes) & np.isin(frames.camera, rule.cameras)
    if rule.frame_interval is None:
        used &= frames_in_samples(index)
    return describe_stretched(index, np.flatnonzero(used), image_size, patch_size)
