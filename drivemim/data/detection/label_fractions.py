"""Label subsets by scene, for training detectors with few annotated frames.

Annotators work scene by scene, and neighbouring frames of a scene are nearly identical. A subset
therefore takes whole scenes, in an order drawn from its seed, and consecutive samples of the last
one. Frames drawn one by one would spread a small subset over all scenes, and so be worth far more
than the same number of labels in practice.

A scene lasts about 20 seconds, like in nuScenes. A recording of minutes is first cut into equal
scenes of about that length. Otherwise a tenth of CamVid (three recordings) would be one stretch of
one street, and the choice of the street would matter more than anything a study can compare.

Subsets are nested: with the same seed, a smaller subset is contained in every larger one. A subset
depends only on fraction, seed and the frames to choose from, not on processes, workers or the
model.

Letters: S samples, N samples of one recording.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from drivemim.errors import ConfigError

SCENE_SECONDS = 20.0
"""A recording is cut into scenes of about this length; those of nuScenes last 19 to 20 seconds."""


def label_subset(
    scene_F: NDArray[np.integer[Any]],
    moment_F: NDArray[np.integer[Any]],
    time_F: NDArray[np.integer[Any]],
    *,
    fraction: float,
    seed: int,
) -> NDArray[np.bool_]:
    """Choose a fraction of the samples of a selection of frames, scene by scene.

    All frames of a sample (its cameras, and any sweeps that belong to it) are chosen together. Of
    S samples, ``round(fraction * S)`` are chosen, but at least one.

    Args:
        scene_F: (F,) number of each frame's scene, or of its recording.
        moment_F: (F,) number of each frame's sample; within a scene, ascending in time.
        time_F: (F,) time of each frame, in microseconds.
        fraction: fraction of the samples, in (0, 1].
        seed: seed of the order of the scenes, and of the position of the chosen samples in the last
            scene.

    Returns:
        (F,) True for the frames that are chosen.

    Raises:
        ConfigError: if ``fraction`` or ``seed`` is out of range.
    """
    if not 0 < fraction <= 1:
        raise ConfigError(
            f"label_fraction={fraction} must be above 0 and up to 1, which is all labels"
        )
    if seed < 0:
        raise ConfigError(f"label_seed={seed} must be 0 or above")
    moments, first, moment_of_F = np.unique(moment_F, return_index=True, return_inverse=True)
    if len(moments) == 0:
        return np.zeros(len(moment_F), np.bool_)
    scene_S = _cut_recordings(
        np.asarray(scene_F, np.int64)[first], np.asarray(time_F, np.int64)[first]
    )
    chosen_S = np.zeros(len(moments), np.bool_)
    remaining = max(1, round(fraction * len(moments)))
    generator = np.random.default_rng(seed)
    for scene in generator.permutation(np.unique(scene_S)):
        samples = np.flatnonzero(scene_S == scene)
        count = min(remaining, len(samples))
        run = _consecutive(len(samples), count, int(generator.integers(len(samples))))
        chosen_S[samples[run]] = True
        remaining -= count
        if remaining == 0:
            break
    return np.asarray(chosen_S[moment_of_F.reshape(-1)], np.bool_)


def _cut_recordings(recording_S: NDArray[np.int64], time_S: NDArray[np.int64]) -> NDArray[np.int64]:
    """Cut recordings into equal scenes of about 20 seconds; return (S,) each sample's scene."""
    scene_S = np.zeros(len(recording_S), np.int64)
    scenes = 0
    for recording in np.unique(recording_S):
        in_recording_S = recording_S == recording
        seconds_N = (time_S[in_recording_S] - time_S[in_recording_S].min()) / 1e6
        length = seconds_N.max()
        parts = max(1, round(length / SCENE_SECONDS))
        part_N = np.floor(seconds_N * (parts / length)) if parts > 1 else np.zeros(len(seconds_N))
        # The last sample, at the very end of the last part, would be number ``parts``.
        scene_S[in_recording_S] = scenes + np.minimum(part_N, parts - 1)
        scenes += parts
    return scene_S


def _consecutive(length: int, count: int, start: int) -> slice:
    """Return a slice of ``count`` of ``length`` samples from ``start``.

    If fewer samples follow ``start``, the slice begins earlier. So with the same start, a longer
    slice contains every shorter one.
    """
    first = min(start, length - count)
    return slice(first, first + count)
