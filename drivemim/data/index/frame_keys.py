"""Keys of image files, to find the frames that two indices share.

Two indices can have the same image under different paths, tokens and scenes: CamVid's validation
images are a split of one index and an unlabelled folder of another. So a key identifies a frame by
its file's picture (see ``frame_key``). Files keep their keys when they are moved, copied, linked
or renamed, or get other comments and metadata; an image that is encoded again, for example at
another size, gets a new key.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from drivemim.data.index.frame_index import FrameIndex
from drivemim.data.index.picture_digest import frame_key
from drivemim.generated import is_generated

MAX_FILES = 100_000
"""Largest number of frames whose files are compared if tokens identify the frames, too."""

_WITH_TOKENS = ("nuscenes", "nuimages")
"""Sources whose tokens no other data set has."""


def frame_keys(index: FrameIndex, rows: NDArray[np.int64]) -> NDArray[np.uint64]:
    """Return a key (F,) of the picture of each frame.

    Args:
        index: the data set.
        rows: (F,) rows of ``index.frames``.

    Raises:
        FileNotFoundError: if an image is missing.
    """
    paths = (index.image_path(int(row)) for row in rows)
    return np.array([frame_key(path) for path in paths], np.uint64)


def scene_tokens(index: FrameIndex) -> list[str] | None:
    """Return the token of every scene, or None if another data set can have the same tokens.

    Outside of nuScenes' tables, tokens are paths. Towns of the same seed share their tokens, even
    if they differ otherwise.
    """
    if index.info.source not in _WITH_TOKENS or is_generated(index.data_root):
        return None
    return list(index.scenes.token)


def frames_in_samples(index: FrameIndex) -> NDArray[np.bool_]:
    """Return (F,) True for the frames that ``Samples.keyframes`` lists.

    Clips without ``frame_interval`` consist of these. In nuImages and rigs, some of them have no
    annotation; ``Frames.keyframe`` is False for those.
    """
    in_samples = np.zeros(len(index.frames), np.bool_)
    rows = np.asarray(index.samples.keyframes)
    in_samples[rows[rows >= 0]] = True
    return in_samples


def annotated_scenes(index: FrameIndex) -> NDArray[np.bool_]:
    """Return (scenes,) True for scenes that have at least one box.

    In such a scene, an image without a box was annotated too: that it has no object is a label.
    """
    annotated = np.zeros(len(index.scenes), np.bool_)
    samples = index.samples
    annotated[samples.scene[np.flatnonzero(np.asarray(samples.box_count) > 0)]] = True
    return annotated
