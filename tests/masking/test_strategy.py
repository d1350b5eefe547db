"""The contract of all mask strategies, and its building blocks by hand."""

import math
from dataclasses import fields, replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.mask_benchmark import synthetic_clips
from drivemim.clips import Clips
from drivemim.errors import ConfigError
from drivemim.masking import (
    MaskContext,
    MixtureMask,
    ObjectMask,
    StackMask,
    WorldMask,
    clip_generators,
    num_masked_patches,
    topk_mask,
    uniform,
)
from drivemim.masking.strategy import gumbel
from drivemim.registry import MASKS

RANDOM, BLOCK, TUBE = {"type": "RandomMask"}, {"type": "BlockMask"}, {"type": "TubeMask"}
CAUSAL, DROPOUT = {"type": "CausalMask"}, {"type": "CameraDropoutMask", "drop_probability": 1.0}
OBJECT = {"type": "ObjectMask"}

# Configs beyond a strategy's defaults; every registered strategy is tested, listed or not.
VARIANTS = [
    {**OBJECT, "base": TUBE, "hide_probability": 1.0, "budget_fraction": 1.0},
    {**OBJECT, "base": BLOCK, "visible_fraction": 0.0, "min_visible": 0},
    {**OBJECT, "mode": "quota", "num_peek_frames": 1, "base": CAUSAL},
    {**OBJECT, "mode": "protect", "base": DROPOUT},
    {"type": "GuidedMask", "hint_probability": 0.3, "temperature": 0.0, "base": CAUSAL},
    {"type": "MultiBlockMask", "blocks": 2, "alike_in_time": True},
    {"type": "GridMask", "alike_in_time": True},
    {"type": "CoarsePatchMask", "size": 3, "alike_in_time": True},
    {**CAUSAL, "future_ratio": 0.3, "future_steps": 5, "base": TUBE},
    {**DROPOUT, "cameras": 2, "base": OBJECT},
    {"type": "MixtureMask", "strategies": [RANDOM, BLOCK, CAUSAL], "weights": [1, 2, 1]},
    {"type": "MixtureMask", "strategies": [DROPOUT, TUBE]},
    {"type": "StackMask", "strategies": [OBJECT, TUBE, BLOCK], "budget_fractions": [0.5, 0.2, 0.3]},
    {
        **CAUSAL,
        "base": {
            "type": "StackMask",
            "strategies": [TUBE, RANDOM],
            "budget_fractions": [0.5, 0.5],
        },
    },
]
NEED_ARGUMENTS = {"MixtureMask", "StackMask"}
SHIPPED = {
    name for name, made in MASKS.module_dict.items() if made.__module__.startswith("drivemim.")
}
DEFAULTS = [{"type": name} for name in sorted(SHIPPED - NEED_ARGUMENTS)]
every_strategy = pytest.mark.parametrize("config", DEFAULTS + VARIANTS, ids=str)


def same_seed():
    return torch.Generator().manual_seed(3)


@st.composite
def scenes(draw, shape=(2, 2, 2)):
    """Random boxes of a few tracks, -1 for none, in clips of 80 x 160 pixels."""
    number = st.floats(0, 1, width=32)
    box = st.tuples(number, number, number, number, st.integers(-1, 5), st.floats(1, 60))
    boxes = {}
    for frame in torch.cartesian_prod(*(torch.arange(size) for size in shape)).tolist():
        rows = draw(st.lists(box, max_size=4))
        boxes[tuple(frame)] = [
            (min(x1, x2) * 160, min(y1, y2) * 80, max(x1, x2) * 160, max(y1, y2) * 80, track, depth)
            for x1, y1, x2, y2, track, depth in rows
        ]
    return boxes


def rigged(clips, seed):
    """Give clips random images, lidar points, cameras that turn any way and ego motion."""
    generator = torch.Generator().manual_seed(seed)
    B, T, N = clips.shape
    angles_BTN = torch.rand(B, 1, N, generator=generator) * 6.3 + torch.arange(T)[:, None] * 0.02
    cos, sin, zero = angles_BTN.cos(), angles_BTN.sin(), torch.zeros(B, T, N)
    # Camera axes (x right, y down, z forward) of a level camera, in the ego's (x forward, z up).
    columns = ([sin, -cos, zero], [zero, zero, zero - 1], [cos, sin, zero])
    clips.camera_to_clip_BTN44[..., :3, :3] = torch.stack(
        [torch.stack(column, dim=-1) for column in columns], dim=-1
    )
    places_BTN3 = torch.rand(B, 1, N, 3, generator=generator) * 3
    travelled_T3 = torch.arange(T)[:, None] * torch.tensor([2.0, 0.2, 0.0])
    clips.camera_to_clip_BTN44[..., :3, 3] = places_BTN3 + travelled_T3[:, None]
    focal_B1N = 60 + 100 * torch.rand(B, 1, N, generator=generator)
    clips.intrinsics_BTN33[..., 0, 0] = clips.intrinsics_BTN33[..., 1, 1] = focal_B1N
    clips.intrinsics_BTN33[..., :2, 2] = torch.tensor([80.0, 40.0])
    clips.timestamps_BTN[:] = torch.arange(T)[:, None] * 500_000
    size = clips.images_BTNHWC.shape
    clips.images_BTNHWC[:] = torch.randint(0, 256, size, generator=generator, dtype=torch.uint8)
    points_BTNP3 = torch.rand(B, T, N, 9, 3, generator=generator) * torch.tensor([160, 80, 60])
    return replace(clips, points_BTNP3=points_BTNP3)


def teacher_map_of(clips, grid):
    """A map to follow that is each frame's own: its brightness."""
    grey_FHW = clips.images_BTNHWC.float().mean(-1).flatten(0, 2)
    return torch.nn.functional.adaptive_avg_pool2d(grey_FHW, grid).view(*clips.shape, *grid)


def masked(strategy, clips, grid):
    """The mask of clips that each have a generator and a teacher map of their own."""
    return strategy(clips, grid, clip_generators(clips), teacher_map_of(clips, grid))


def without(clips, invalid_BTN):
    """Make frames what the data set gives for missing ones."""
    eye3, eye4 = torch.eye(3), torch.eye(4)
    clips.images_BTNHWC[invalid_BTN] = 0
    clips.intrinsics_BTN33[invalid_BTN], clips.camera_to_clip_BTN44[invalid_BTN] = eye3, eye4
    clips.labels_BTNM[invalid_BTN] = clips.tracks_BTNM[invalid_BTN] = -1
    clips.boxes_BTNM4[invalid_BTN], clips.depths_BTNM[invalid_BTN] = 0, torch.inf
    clips.points_BTNP3[invalid_BTN] = torch.tensor([0, 0, torch.inf])
    clips.valid_BTN[invalid_BTN] = False
    return clips


def reordered(clips, order_N):
    """The same clips with their cameras in another order."""
    framed = [field.name for field in fields(Clips) if "BTN" in field.name]
    return replace(clips, **{name: getattr(clips, name)[:, :, order_N] for name in framed})


def check_budget(strategy, clips, mask):
    """Every frame hides what the scores say, by default the budget; a clip always its sum."""
    grid, (_, T, N) = tuple(mask.shape[-2:]), clips.shape
    context = MaskContext(
        clips=clips,
        grid=grid,
        mask_ratio=strategy.mask_ratio,
        generators=clip_generators(clips),
        teacher_map_BTNhw=teacher_map_of(clips, grid),
    )
    mask_scores = strategy.score(context)
    assert mask_scores.scores_BTNhw.isfinite().all()
    hidden_BTN, budget = mask.sum((-2, -1)), num_masked_patches(strategy.mask_ratio, grid)
    if mask_scores.num_masked_BTN is None:
        assert (hidden_BTN == budget).all()
    else:
        assert torch.equal(hidden_BTN, mask_scores.num_masked_BTN)
    assert (hidden_BTN.sum((1, 2)) == T * N * budget).all()


def test_hidden_patches_by_hand():
    assert num_masked_patches(0.75, (14, 25)) == 262  # 262.5, half to even
    assert num_masked_patches(0, (14, 25)) == 0
    assert num_masked_patches(1, (14, 25)) == 350
    assert num_masked_patches(0.5, (1, 3)) == 2


def test_hide_top_by_hand():
    scores = torch.tensor([[[0.1, 0.9], [0.5, 0.2]], [[4.0, 3.0], [2.0, 1.0]]])
    assert topk_mask(scores, 2).tolist() == [
        [[False, True], [True, False]],
        [[True, True], [False, False]],
    ]


def test_hide_top_with_a_count_for_each_frame():
    scores = torch.tensor([[0.1, 0.9], [0.5, 0.2]]).expand(1, 3, 1, 2, 2)
    mask = topk_mask(scores, torch.tensor([[[0], [3], [4]]]))
    assert mask[0, :, 0].flatten(1).tolist() == [[False] * 4, [False, True, True, True], [True] * 4]


def test_uniform_is_torchs_own():
    together = uniform((2, 3), same_seed(), "cpu")
    assert torch.equal(together, torch.rand(2, 3, generator=same_seed()))
    each = uniform((2, 3), [same_seed(), same_seed()], "cpu")
    assert torch.equal(each, torch.rand(3, generator=same_seed()).expand(2, 3))


def test_uniform_needs_a_generator_for_every_clip():
    with pytest.raises(ValueError, match="3 generators for 2 clips"):
        uniform((2, 3), [same_seed()] * 3, "cpu")


def test_clip_generators_follow_the_clips_seeds(make_clips):
    first, second = clip_generators(make_clips(shape=(2, 1, 1), seed=40))
    assert first.initial_seed() == 40
    assert second.initial_seed() == 41


@every_strategy
@pytest.mark.parametrize("mask_ratio", [-0.01, 1.01, float("nan")])
def test_mask_ratio_is_a_fraction(config, mask_ratio):
    with pytest.raises(ValueError, match=r"mask_ratio=.* must be in \[0, 1\]"):
        MASKS.build({**config, "mask_ratio": mask_ratio})


@every_strategy
def test_a_mask_ratio_that_is_a_text_is_named(config):
    with pytest.raises(ValueError, match=r"mask_ratio='0\.75' must be a number, not str"):
        MASKS.build({**config, "mask_ratio": "0.75"})


@pytest.mark.parametrize(
    ("kind", "argument"),
    [
        ("BlockMask", "min_aspect"), ("MultiBlockMask", "max_aspect"),
        ("GuidedMask", "hint_probability"), ("GuidedMask", "temperature"),
        ("MotionMask", "wall_distance"), ("WorldMask", "spot_size"),
        ("WorldMask", "wall_distance"), ("ObjectMask", "budget_fraction"),
    ],
)  # fmt: skip
def test_texts_in_place_of_numbers_are_named(kind, argument):
    with pytest.raises(ValueError, match=f"{argument}='0.5' must be a number, not str"):
        MASKS.build({"type": kind, argument: "0.5"})


@pytest.mark.parametrize("given", ["WorldMask", WorldMask])
def test_a_base_that_is_no_strategy_is_named(given):
    match = r"base=.*WorldMask.* must be .*: base=WorldMask\(\) or base=dict\("
    with pytest.raises(ConfigError, match=match):
        ObjectMask(base=given)


def test_a_part_that_is_no_strategy_is_named():
    with pytest.raises(ConfigError, match=r"strategies\[1\]=0\.5 must be a mask strategy or its"):
        StackMask(strategies=[RANDOM, 0.5], budget_fractions=[0.5, 0.5])
    with pytest.raises(ConfigError, match=r"strategies\[0\]='BlockMask' must be .*'BlockMask'\)"):
        MixtureMask(strategies=["BlockMask"])
    with pytest.raises(ValueError, match=r"weights\[0\]='1' must be a number"):
        MixtureMask(strategies=[RANDOM], weights=["1"])


@every_strategy
@settings(max_examples=15, deadline=None)
@given(
    boxes=scenes(),
    mask_ratio=st.floats(0, 1),
    grid=st.sampled_from([(4, 8), (1, 1), (3, 5), (8, 16)]),
    rig=st.integers(0, 99),
    invalid=st.lists(st.booleans(), min_size=8, max_size=8),
)
def test_contract(config, make_clips, boxes, mask_ratio, grid, rig, invalid):
    clips = rigged(make_clips(boxes, (2, 2, 2)), rig)
    clips = without(clips, torch.tensor(invalid).view(2, 2, 2))
    strategy = MASKS.build({**config, "mask_ratio": mask_ratio})
    mask = masked(strategy, clips, grid)
    assert mask.dtype == torch.bool
    assert mask.shape == (2, 2, 2, *grid)
    check_budget(strategy, clips, mask)
    assert torch.equal(mask, masked(strategy, clips, grid))


@every_strategy
@settings(max_examples=8, deadline=None)
@given(boxes=scenes((1, 2, 2)), rig=st.integers(0, 99))
def test_a_clip_does_not_depend_on_its_batch(config, make_clips, boxes, rig):
    """Neither on its neighbours, nor on how far boxes are padded because of them."""
    alone = rigged(make_clips(boxes, (1, 2, 2), seed=5), rig)
    crowd = make_clips({(0, 0, 0): [(0, 0, 90, 60, 1, 5)] * 9}, (1, 2, 2), seed=6)
    strategy = MASKS.build(config)
    expected = masked(strategy, alone, (4, 8))
    for batch, place in ((Clips.cat([alone, crowd]), 0), (Clips.cat([crowd, alone]), 1)):
        assert torch.equal(masked(strategy, batch, (4, 8))[place], expected[0])


@every_strategy
@settings(max_examples=10, deadline=None)
@given(
    boxes=scenes((1, 3, 3)),
    rig=st.integers(0, 99),
    order=st.permutations(range(3)),
    invalid=st.lists(st.sampled_from([False, False, True]), min_size=9, max_size=9),
    mask_ratio=st.sampled_from([0.3, 0.675]),
)
def test_masks_belong_to_cameras_in_any_order(
    config, make_clips, boxes, rig, order, invalid, mask_ratio
):
    clips = rigged(make_clips(boxes, (1, 3, 3), seed=rig), rig)
    clips = without(clips, torch.tensor(invalid).view(1, 3, 3))
    strategy = MASKS.build({**config, "mask_ratio": mask_ratio})
    mask = masked(strategy, clips, (5, 8))
    other = reordered(clips, order)
    # Cameras without any frame cannot be told apart.
    seen_N = other.valid_BTN.any(dim=1)[0]
    expected = mask[:, :, order][:, :, seen_N]
    assert torch.equal(masked(strategy, other, (5, 8))[:, :, seen_N], expected)


@every_strategy
@pytest.mark.parametrize("mask_ratio", [0, 0.5, 1])
@pytest.mark.parametrize(
    "rows", [[], [(0, 0, 160, 80, 1, 5)], [(0, 0, 160, 80, 1, 5)] * 70], ids=["no", "one", "70"]
)
def test_degenerate_boxes(config, make_clips, mask_ratio, rows):
    clips = make_clips({(0, 0, 0): rows}, (1, 2, 1))
    strategy = MASKS.build({**config, "mask_ratio": mask_ratio})
    for valid in (False, True):
        clips.valid_BTN[:] = valid
        check_budget(strategy, clips, masked(strategy, clips, (4, 8)))


@every_strategy
def test_an_empty_batch(config, make_clips):
    mask = masked(MASKS.build(config), make_clips(shape=(0, 2, 2)), (4, 8))
    assert mask.shape == (0, 2, 2, 4, 8)


@every_strategy
def test_seeds_and_frames_differ(config, make_clips):
    clips = rigged(make_clips(shape=(2, 2, 2)), 0)
    mask = masked(MASKS.build({**config, "mask_ratio": 0.4}), clips, (8, 16))
    assert not torch.equal(mask[0], mask[1])
    assert not torch.equal(mask[0, -1, 0], mask[0, -1, 1])


@pytest.mark.parametrize("kind", ["GuidedMask", "MotionMask"])
def test_the_budget_fraction_is_of_the_frames_own_budget(kind):
    """16 patches, half hidden on average: 2 x 16 x 0.5 = 16 patches, all in the last of 2 steps."""
    base = {"type": "CausalMask", "future_ratio": 1.0}
    strategy = MASKS.build({"type": kind, "mask_ratio": 0.5, "budget_fraction": 0.5, "base": base})
    clips = synthetic_clips(1, 2, 0, (4, 4), torch.device("cpu"))
    context = MaskContext(
        clips=clips, grid=(4, 4), mask_ratio=0.5, generators=same_seed(),
        teacher_map_BTNhw=torch.rand(*clips.shape, 4, 4),
    )  # fmt: skip
    mask_scores = strategy.score(context)
    assert mask_scores.num_masked_BTN.flatten().tolist() == 6 * [0] + 6 * [16]
    first_TN = (mask_scores.scores_BTNhw[0].flatten(-2) >= (2 if kind == "GuidedMask" else 1)).sum(
        -1
    )
    assert (first_TN[0] == 0).all()
    assert (first_TN[1] <= 8).all()
    assert (first_TN[1] > 0).any()


def test_gumbel_noise_by_hand():
    noise = gumbel(torch.tensor([0.0, 0.5]))
    assert noise[0] == pytest.approx(-math.log(25 * math.log(2)))  # a draw of 0 counts as 2**-25
    assert noise[1] == pytest.approx(-math.log(math.log(2)))
