"""A share of the labels, by scene: what a detector gets when few frames have been annotated.

Annotators work drive by drive, and neighbouring frames of a drive are nearly the same picture. A
subset therefore takes whole scenes, in an order that its seed draws, and of the last one a run of
moments that follow one another. Frames drawn one by one would spread a small share over all scenes
and be worth far more than what the same number of labels is worth in practice.

Of one seed, a smaller share is part of every larger one. The subset depends on share, seed and the
frames chosen from alone: not on a process, a worker, or what is trained from it.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from drivemim.errors import ConfigError


def label_subset(
    scene_F: NDArray[np.integer[Any]],
    moment_F: NDArray[np.integer[Any]],
    *,
    share: float,
    seed: int,
) -> NDArray[np.bool_]:
    """Choose a share of the moments of a selection of frames, scene by scene.

    All frames of a moment (the cameras of a sample, and any sweeps that belong to it) are chosen
    together. With S moments there are ``round(share * S)`` chosen, but at least one.

    Args:
        scene_F: (F,) number of each frame's scene.
        moment_F: (F,) number of each frame's moment; within a scene, ascending in time.
        share: of the moments, above 0 and up to 1, which is all of them.
        seed: draws the order of the scenes, and where in the last one its run lies.

    Returns:
        (F,) True for the frames that are chosen.

    Raises:
        ConfigError: if ``share`` or ``seed`` is out of range.
    """
    if not 0 < share <= 1:
        raise ConfigError(f"label_share={share} must be above 0 and up to 1, which is all labels")
    if seed < 0:
        raise ConfigError(f"label_seed={seed} must be 0 or above")
    moments, first, moment_of_F = np.unique(moment_F, return_index=True, return_inverse=True)
    if len(moments) == 0:
        return np.zeros(len(moment_F), np.bool_)
    scene_S = np.asarray(scene_F, np.int64)[first]
    keep_S = np.zeros(len(moments), np.bool_)
    wanted = max(1, round(share * len(moments)))
    generator = np.random.default_rng(seed)
    for scene in generator.permutation(np.unique(scene_S)):
        own = np.flatnonzero(scene_S == scene)
        run = _run(len(own), min(wanted, len(own)), int(generator.integers(len(own))))
        keep_S[own[run]] = True
        wanted -= run.stop - run.start
        if wanted == 0:
            break
    return np.asarray(keep_S[moment_of_F.reshape(-1)], np.bool_)


def _run(length: int, count: int, start: int) -> slice:
    """``count`` of ``length`` moments from ``start`` on, moved back where they would not fit.

    A longer run from the same start therefore contains every shorter one.
    """
    first = min(start, length - count)
    return slice(first, first + count)
