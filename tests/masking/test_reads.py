"""Every strategy declares its inputs, and its mask depends on nothing else."""

from dataclasses import replace

import pytest
import torch
from mmengine.config import Config

from drivemim.masking.random import RandomMask
from drivemim.masking.strategy import READABLE, MaskStrategy, build_mask, clip_generators
from drivemim.registry import MASKS

GRID = (6, 10)
# Worked out from what each strategy is for; those inside it count by themselves.
READS = {
    "BlockMask": set(), "CameraDropoutMask": set(), "CausalMask": set(), "GridMask": set(),
    "GuidedMask": set(), "CoarsePatchMask": set(), "MixtureMask": set(), "MotionMask": {"lidar"},
    "MultiBlockMask": set(), "ObjectMask": {"boxes", "tracks"}, "RandomMask": set(),
    "StackMask": set(), "TubeMask": set(), "WorldMask": {"lidar"},
}  # fmt: skip


@pytest.fixture(scope="module")
def clips(make_clips):
    """Two cameras and times, with noise, tracked boxes and lidar points; the car drives on."""
    torch.manual_seed(0)
    boxes = {
        (0, time, camera): [(10 + 20 * time, 10, 60 + 20 * time, 50, 1, 8.0),
                            (90, 20, 150, 60, 2, 12.0)]
        for time in range(2) for camera in range(2)
    }  # fmt: skip
    made = make_clips(boxes, shape=(1, 2, 2))
    poses = made.camera_to_clip_BTN44.clone()
    poses[:, 1, :, 2, 3] = 1.5
    intrinsics = made.intrinsics_BTN33.clone()
    intrinsics[..., 0, 0] = intrinsics[..., 1, 1] = 120.0
    intrinsics[..., 0, 2], intrinsics[..., 1, 2] = 80.0, 40.0
    points = torch.rand(1, 2, 2, 200, 3) * torch.tensor([160.0, 80.0, 20.0]) + 1
    return replace(
        made,
        images_BTNHWC=torch.randint(0, 256, made.images_BTNHWC.shape, dtype=torch.uint8),
        camera_to_clip_BTN44=poses, intrinsics_BTN33=intrinsics, points_BTNP3=points,
    )  # fmt: skip


def without(clips, what):
    if what == "lidar":
        return replace(clips, points_BTNP3=clips.points_BTNP3[..., :0, :])
    if what == "tracks":
        return replace(clips, tracks_BTNM=torch.full_like(clips.tracks_BTNM, -1))
    return replace(
        clips, boxes_BTNM4=clips.boxes_BTNM4[..., :0, :], labels_BTNM=clips.labels_BTNM[..., :0],
        tracks_BTNM=clips.tracks_BTNM[..., :0], depths_BTNM=clips.depths_BTNM[..., :0],
    )  # fmt: skip


def all_of(strategy):
    """Return the declared inputs of a strategy and of those inside it."""
    inside = [strategy.base] if hasattr(strategy, "base") else getattr(strategy, "strategies", [])
    return strategy.reads.union(*(all_of(each) for each in inside))


def test_every_registered_strategy_says_what_it_reads():
    registered = {name: kind for name, kind in MASKS.module_dict.items()
                  if kind.__module__.startswith("drivemim.")}  # fmt: skip
    assert {name: set(kind.reads) for name, kind in registered.items()} == READS
    assert all("reads" in vars(kind) for kind in registered.values())


def test_a_strategy_without_reads_counts_as_reading_everything():
    class Silent(MaskStrategy):
        def score(self, context):
            return RandomMask().score(context)

    assert Silent().reads == set(READABLE) == {"boxes", "tracks", "lidar"}


def test_masks_depend_only_on_their_declared_inputs(clips, repository):
    strategies = Config.fromfile(repository / "configs/masks/strategies.py").strategies.to_dict()
    teacher_map = torch.rand(1, 2, 2, *GRID)
    followed = {}
    for name, settings in strategies.items():
        strategy = build_mask(settings)
        whole = strategy(clips, GRID, clip_generators(clips), teacher_map)
        followed[name] = {
            what
            for what in READABLE
            if not torch.equal(
                whole, strategy(without(clips, what), GRID, clip_generators(clips), teacher_map)
            )
        }
        assert followed[name] <= all_of(strategy), name
    assert followed["object"] == {"boxes", "tracks"}
    assert followed["object_world"] == {"boxes", "tracks", "lidar"}
    assert followed["world"] == {"lidar"}
    assert followed["random"] == followed["tube"] == followed["guided"] == set()
