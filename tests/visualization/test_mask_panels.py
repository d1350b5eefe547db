"""Pictures of masks: marks at the positions of the world points."""

import copy

import cv2
import numpy as np
import pytest
import torch
from mmengine.config import Config

from drivemim.clips import Clips
from drivemim.data.index.builders.frames import build_frames_index
from drivemim.errors import ConfigError, DataError
from drivemim.evaluation.mask_analysis import local_contrast
from drivemim.visualization.mask_panels import (
    choose_landmarks,
    draw_masks,
    mask_panel,
)
from drivemim.visualization.panels import GAP, HEADER_HEIGHT, ROW_LABEL_WIDTH

H, W = 64, 128


@pytest.fixture
def clips():
    """Two cameras at 1.5 m height that look ahead and to the left, two steps 4 m apart."""
    ahead = torch.tensor([[0.0, 0, 1], [-1, 0, 0], [0, -1, 0]])
    left = torch.tensor([[1.0, 0, 0], [0, 0, 1], [0, -1, 0]])
    poses = torch.eye(4).repeat(1, 2, 2, 1, 1)
    poses[:, :, 0, :3, :3], poses[:, :, 1, :3, :3] = ahead, left
    poses[..., 2, 3] = 1.5
    poses[:, 1, :, 0, 3] = 4.0
    intrinsics = torch.tensor([[64.0, 0, 64], [0, 64, 32], [0, 0, 1]]).expand(1, 2, 2, 3, 3)
    valid = torch.ones(1, 2, 2, dtype=torch.bool)
    valid[0, 1, 1] = False
    return Clips(
        images_BTNHWC=torch.zeros(1, 2, 2, H, W, 3, dtype=torch.uint8),
        intrinsics_BTN33=intrinsics,
        camera_to_clip_BTN44=poses,
        timestamps_BTN=torch.tensor([[[0, 0], [500_000, 500_000]]]),
        valid_BTN=valid,
        boxes_BTNM4=torch.zeros(1, 2, 2, 0, 4),
        labels_BTNM=torch.zeros(1, 2, 2, 0, dtype=torch.int64),
        tracks_BTNM=torch.zeros(1, 2, 2, 0, dtype=torch.int64),
        depths_BTNM=torch.zeros(1, 2, 2, 0),
        points_BTNP3=torch.zeros(1, 2, 2, 0, 3),
        seeds_B=torch.zeros(1, dtype=torch.int64),
        tokens=((("a", "b"), ("c", "")),),
    )


def bright(panel, t, n):
    """Middle of what is bright in the tile of step t and camera n; pixel i spans [i, i + 1]."""
    top, left = HEADER_HEIGHT + t * (H + GAP), ROW_LABEL_WIDTH + n * (W + GAP)
    rows, columns = (panel[top : top + H, left : left + W].max(axis=2) > 200).nonzero()
    if len(rows) == 0:
        return None
    return (columns.min() + columns.max() + 1) / 2, (rows.min() + rows.max() + 1) / 2


def test_a_mark_is_where_the_point_is(clips):
    """12 m ahead, 3 m to the left, on the ground: 12 m deep, then 8; never in the other camera."""
    mask = torch.zeros(1, 2, 2, 4, 8, dtype=torch.bool)
    panel = mask_panel(clips, mask, torch.tensor([[12.0, 3.0, 0.0]]).double(), tile_width=W)
    first, second = bright(panel, 0, 0), bright(panel, 1, 0)
    assert first == pytest.approx((64 - 64 * 3 / 12, 32 + 64 * 1.5 / 12), abs=0.1)
    assert second == pytest.approx((64 - 64 * 3 / 8, 32 + 64 * 1.5 / 8), abs=0.1)
    assert bright(panel, 0, 1) is None


def test_hidden_patches_are_tinted(clips):
    mask = torch.zeros(1, 2, 2, 4, 8, dtype=torch.bool)
    mask[0, 1, 0, 2, 3] = True
    panel = mask_panel(clips, mask, torch.zeros(0, 3).double(), tile_width=W)
    top, left = HEADER_HEIGHT + H + GAP, ROW_LABEL_WIDTH
    tinted = panel[top : top + H, left : left + W].max(axis=2) > 0
    expected = np.zeros((H, W), bool)
    expected[32:48, 48:64] = True
    assert (tinted == expected).all()


def test_marks_are_on_the_ground_apart_and_seen(clips):
    marks = choose_landmarks(clips, 4)
    assert (marks[:, 2] == 0).all()
    apart = (marks[:, None] - marks[None]).norm(dim=2) + 100 * torch.eye(4)
    assert apart.min() >= 8.0
    mask = torch.zeros(1, 2, 2, 4, 8, dtype=torch.bool)
    for mark in marks[:1]:
        panel = mask_panel(clips, mask, mark[None], tile_width=W)
        assert sum(bright(panel, t, n) is not None for t, n in ((0, 0), (0, 1), (1, 0))) >= 2


def test_marks_are_lidar_points_where_there_are_some(clips):
    points = torch.zeros(1, 2, 2, 2, 3)
    points[..., 2] = torch.inf
    points[0, 1, 0, 0] = torch.tensor([96.0, 32.0, 10.0])
    marks = choose_landmarks(Clips(**{**vars(clips), "points_BTNP3": points}), 3)
    # 10 m ahead of a camera that is 4 m ahead, half a focal length to the right, at its height.
    np.testing.assert_allclose(marks, [[14.0, -5.0, 1.5]], atol=1e-5)


def test_contrast_by_hand(clips):
    images = clips.images_BTNHWC.clone()
    images[0, 0, 0, :16:2, :16] = 200
    contrast = local_contrast(Clips(**{**vars(clips), "images_BTNHWC": images}), (4, 8))
    assert contrast.shape == (1, 2, 2, 4, 8)
    assert contrast[0, 0, 0, 0, 0].item() == pytest.approx(100, rel=0.01)
    assert contrast.flatten()[1:].max() == 0


def test_unknown_strategy_is_named(tmp_path):
    path = tmp_path / "masks.py"
    Config(dict(strategies=dict(tube=dict(type="TubeMask")))).dump(path)
    with pytest.raises(ConfigError, match="no strategy 'cube', only tube"):
        draw_masks(path, tmp_path, only=["cube"])
    Config(dict(model=dict())).dump(path)
    with pytest.raises(ConfigError, match="neither strategies nor model.masking"):
        draw_masks(path, tmp_path)


@pytest.fixture
def frames(tmp_path):
    """A config of a strategy and of three frames of 64 x 128 pixels."""
    (tmp_path / "drive").mkdir()
    for number in range(3):
        image = np.full((H, W, 3), 50 * number, np.uint8)
        cv2.imwrite(str(tmp_path / "drive" / f"{number}.png"), image)
    index = build_frames_index([tmp_path / "drive"], tmp_path / "index.arrow")
    path = tmp_path / "masks.py"
    dataset = {"type": "drivemim.ClipDataset", "index": str(index), "image_size": (H, W)}
    Config({"strategies": {"random": {"type": "RandomMask"}}, "dataset": dataset}).dump(path)
    return path


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"item": 3}, r"^--clip 3 must be in \[0, 2\]"),
        ({"item": -1}, "^--clip -1 must be 0 or more"),
        ({"marks": -1}, "^--marks -1 must be 0 or more"),
        ({"seed": -1}, r"^--seed -1 must be in \[0, 4294967295\]"),
        ({"ratio": 75.0}, r"mask_ratio=75.0 must be in \[0, 1\]"),
        ({"width": 15}, "^--width 15 must be 16 or more pixels for 1 camera side by side"),
        ({"stride": 0}, "^patch size 0 must be 1 or more"),
        ({"stride": 48}, "64x128 .* is not a multiple of the patch size 48"),
        ({"options": {"dataset.x": 1}}, "ClipDataset has no argument 'x'"),
    ],
)
def test_numbers_out_of_range_are_named(frames, tmp_path, arguments, message):
    with pytest.raises((ConfigError, DataError), match=message):
        draw_masks(frames, tmp_path / "out", **arguments)
    assert not (tmp_path / "out").exists()


def test_the_last_clip_at_the_least_width(frames, tmp_path):
    assert draw_masks(frames, tmp_path / "out", item=2, width=16, marks=0)[0].is_file()


def test_strategies_without_data_are_named(tmp_path):
    path = tmp_path / "masks.py"
    Config({"strategies": {"random": {"type": "RandomMask"}}}).dump(path)
    with pytest.raises(
        ConfigError, match=r"masks\.py has neither a dataset nor a train_dataloader"
    ):
        draw_masks(path, tmp_path / "out")


def test_options_of_the_caller_are_not_changed(repository, tmp_path):
    """MMEngine removes ``_delete_`` from the dicts that it merges."""
    masking = {"_delete_": True, "type": "drivemim.RandomMask", "mask_ratio": 0.5}
    options = {"model": {"masking": masking}}
    given = copy.deepcopy(options)
    config = repository / "configs" / "pretrain" / "vit_micro_town.py"
    with pytest.raises(ConfigError, match="gone"):
        draw_masks(config, tmp_path / "pictures", options=given, only=["gone"])
    assert given == options
