"""Keys that tell whether a frame of one index is the image of a frame of another index.

Two indices can name the same image by other paths, tokens and scenes: CamVid's validation images
are a split of one index and an unlabelled folder of another. So a frame is known by its file: its
length and blocks from its middle and its end. Moved, copied, linked and renamed files keep their
keys; an image that is written anew, at another size for example, has another. Files that are no
longer than a block are known by their name (links followed) too: they hold so little that two
frames may be the same in them.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from drivemim.datasets.index import FrameIndex
from drivemim.datasets.sources import content_key
from drivemim.datasets.town.generate import MARKER


def frame_keys(
    index: FrameIndex, rows: NDArray[np.int64], *, named: bool = False
) -> NDArray[np.uint64]:
    """Return a key (F,) of the file of each frame.

    Args:
        index: the data set.
        rows: (F,) rows of ``index.frames``.
        named: the keys that older exports hold, in which the name of every file counts.

    Raises:
        FileNotFoundError: if an image is missing.
    """
    paths = (index.image_path(int(row)) for row in rows)
    return np.array([content_key(path, named=named, short_named=True) for path in paths], np.uint64)


def scene_tokens(index: FrameIndex) -> list[str] | None:
    """Return the token of every scene, or None where another data set can have the same.

    Folders of frames have paths for tokens, and towns of one seed share theirs whatever else
    differs between them.
    """
    if index.info.source == "frames" or (index.data_root / MARKER).is_file():
        return None
    return list(index.scenes.token)


def annotated_scenes(index: FrameIndex) -> NDArray[np.bool_]:
    """Return which scenes have any box, (scenes,).

    An image of such a scene without a box has been looked at, and is a label too.
    """
    found = np.zeros(len(index.scenes), np.bool_)
    samples = index.samples
    found[samples.scene[np.flatnonzero(np.asarray(samples.box_count) > 0)]] = True
    return found
