"""Clips made by hand."""

from collections.abc import Callable

import pytest
import torch

from drivemim.clips import Clips


@pytest.fixture(scope="session")
def make_clips() -> Callable[..., Clips]:
    """Black clips with the boxes of each frame given as (x1, y1, x2, y2, track, depth) rows."""

    def make(
        boxes: dict[tuple[int, int, int], list[tuple[float, ...]]] | None = None,
        shape: tuple[int, int, int] = (1, 1, 1),
        image_size: tuple[int, int] = (80, 160),
        seed: int = 0,
        padding: int = 0,
    ) -> Clips:
        boxes = boxes or {}
        M = max((len(rows) for rows in boxes.values()), default=0) + padding
        clips = Clips(
            images_BTNHWC=torch.zeros(*shape, *image_size, 3, dtype=torch.uint8),
            intrinsics_BTN33=torch.eye(3).repeat(*shape, 1, 1),
            camera_to_clip_BTN44=torch.eye(4).repeat(*shape, 1, 1),
            timestamps_BTN=torch.zeros(shape, dtype=torch.int64),
            valid_BTN=torch.ones(shape, dtype=torch.bool),
            boxes_BTNM4=torch.zeros(*shape, M, 4),
            labels_BTNM=torch.full((*shape, M), -1),
            tracks_BTNM=torch.full((*shape, M), -1),
            depths_BTNM=torch.full((*shape, M), torch.inf),
            points_BTNP3=torch.zeros(*shape, 0, 3),
            seeds_B=seed + torch.arange(shape[0]),
            tokens=tuple(
                tuple(tuple(f"{b}-{t}-{n}" for n in range(shape[2])) for t in range(shape[1]))
                for b in range(shape[0])
            ),
        )
        for frame, rows in boxes.items():
            for m, (x1, y1, x2, y2, track, depth) in enumerate(rows):
                clips.boxes_BTNM4[(*frame, m)] = torch.tensor([x1, y1, x2, y2])
                clips.labels_BTNM[(*frame, m)] = 1
                clips.tracks_BTNM[(*frame, m)] = int(track)
                clips.depths_BTNM[(*frame, m)] = depth
        return clips

    return make
