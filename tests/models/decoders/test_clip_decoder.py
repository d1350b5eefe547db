from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import torch

from drivemim.clips import Clips
from drivemim.models import ClipDecoder
from drivemim.models.decoders.clip_decoder import (
    DecoderBlock,
    GeometryEmbedding,
    seconds_since_first,
)

GRID = (2, 3)


def build(**changes: object) -> ClipDecoder:
    torch.manual_seed(0)
    return ClipDecoder(**{**dict(in_channels=8, embed_dims=24, depth=2, num_heads=2), **changes})


@pytest.fixture
def mask() -> torch.Tensor:
    """B=2, T=2, N=2; 2 of 6 cells visible in each frame."""
    noise = torch.rand(2, 2, 2, 6, generator=torch.Generator().manual_seed(5))
    hidden = noise.argsort(dim=-1)[..., :4]
    return torch.zeros_like(noise, dtype=torch.bool).scatter(-1, hidden, True).unflatten(-1, GRID)


@pytest.fixture
def visible() -> torch.Tensor:
    return torch.randn(2, 2, 2, 2, 8, generator=torch.Generator().manual_seed(6))


@pytest.mark.parametrize("attend", ["clip", "frame"])
def test_who_sees_whom(
    clips: Clips, mask: torch.Tensor, visible: torch.Tensor, attend: str
) -> None:
    decoder = build(attend=attend)
    before = decoder(visible, mask, clips)
    assert before.shape == (2, 2, 2, 4, 24)
    changed = visible.clone()
    changed[0, 1, 0, 1] += 1.0
    moved = (decoder(changed, mask, clips) - before).abs().amax(dim=(3, 4)) > 0
    own = torch.zeros(2, 2, 2, dtype=torch.bool)
    own[0, 1, 0] = True
    whole_clip = torch.zeros(2, 2, 2, dtype=torch.bool)
    whole_clip[0] = True
    assert torch.equal(moved, own if attend == "frame" else whole_clip)


@pytest.mark.parametrize("attend", ["clip", "frame"])
def test_invalid_frames_are_not_looked_at(
    clips: Clips, mask: torch.Tensor, visible: torch.Tensor, attend: str
) -> None:
    valid = clips.valid_BTN.clone()
    valid[0, 0, 1] = valid[1, 1, 1] = False
    clips = replace(clips, valid_BTN=valid)
    decoder = build(attend=attend)
    before = decoder(visible, mask, clips)
    changed = torch.where(valid[..., None, None], visible, torch.full_like(visible, 1e4))
    poses = torch.where(valid[..., None, None], clips.camera_to_clip_BTN44, torch.eye(4) * 9)
    other = replace(
        clips,
        camera_to_clip_BTN44=poses,
        timestamps_BTN=clips.timestamps_BTN.masked_fill(~valid, 0),
    )
    after = decoder(changed, mask, other)
    assert torch.equal(before[valid], after[valid])


def test_a_clip_does_not_depend_on_its_batch(
    build_clips: Callable[..., Clips], mask: torch.Tensor, visible: torch.Tensor
) -> None:
    both = build_clips(B=2)
    valid = both.valid_BTN.clone()
    valid[1, 0, 0] = False
    both = replace(both, valid_BTN=valid)
    tensors = {
        name: value[:1] for name, value in vars(both).items() if isinstance(value, torch.Tensor)
    }
    first = replace(both, **tensors, tokens=both.tokens[:1])
    decoder = build()
    alone = decoder(visible[:1], mask[:1], first)
    torch.testing.assert_close(decoder(visible, mask, both)[:1], alone)


@pytest.mark.parametrize("attend", ["clip", "frame"])
def test_a_clip_without_valid_frames_is_finite(
    clips: Clips, mask: torch.Tensor, visible: torch.Tensor, attend: str
) -> None:
    valid = clips.valid_BTN.clone()
    valid[0] = False
    decoder = build(attend=attend)
    out = decoder(visible, mask, replace(clips, valid_BTN=valid))
    assert out.isfinite().all()
    out[1].square().sum().backward()
    for name, parameter in decoder.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.isfinite().all(), name


def test_poses_and_times_matter(clips: Clips, mask: torch.Tensor, visible: torch.Tensor) -> None:
    decoder = build()
    before = decoder(visible, mask, clips)
    poses = clips.camera_to_clip_BTN44.clone()
    poses[:, 1, :, 0, 3] += 2.0
    times = clips.timestamps_BTN.clone()
    times[:, 1] += 100_000
    for other in (
        replace(clips, camera_to_clip_BTN44=poses),
        replace(clips, timestamps_BTN=times),
        replace(clips, intrinsics_BTN33=clips.intrinsics_BTN33 * torch.tensor([2.0, 1, 1])),
    ):
        assert (decoder(visible, mask, other) - before).abs().max() > 1e-4
    # Only differences of time count.
    later = replace(clips, timestamps_BTN=clips.timestamps_BTN + 3_600_000_000)
    assert torch.equal(decoder(visible, mask, later), before)


def test_hidden_cells_come_in_row_major_order(
    clips: Clips, mask: torch.Tensor, visible: torch.Tensor
) -> None:
    decoder = build()
    with torch.no_grad():
        # Without content, only places are left: equal visible features, no attention, no MLP.
        for block in decoder.blocks:
            block.proj.weight.zero_()
            block.mlp.fc2.weight.zero_()
    places = decoder._places(clips, GRID)
    out = decoder(visible, mask, clips)
    rows = mask[1, 0, 1].flatten().nonzero()[:, 0]
    torch.testing.assert_close(
        out[1, 0, 1], decoder.norm(places[1, 0, 1][rows] + decoder.mask_token)
    )


def test_block_by_hand() -> None:
    torch.manual_seed(0)
    block = DecoderBlock(8, 2, 1.0).double()
    tokens = torch.randn(1, 5, 8).double()
    use = torch.tensor([[True, False, True]])
    out = block(tokens, 3, use, hidden_only=False).detach().numpy()[0]
    only = block(tokens, 3, use, hidden_only=True).detach().numpy()[0]

    w = {name: value.detach().numpy() for name, value in block.named_parameters()}
    x = tokens.numpy()[0]

    def norm(rows: np.ndarray) -> np.ndarray:
        centred = rows - rows.mean(axis=1, keepdims=True)
        return centred / np.sqrt(centred.var(axis=1, keepdims=True) + 1e-6)

    def linear(rows: np.ndarray, name: str) -> np.ndarray:
        return rows @ w[f"{name}.weight"].T + w[f"{name}.bias"]

    n = norm(x)
    queries, both = linear(n, "queries"), linear(n[[0, 2]], "keys_values")
    mixed = np.zeros((5, 8))
    for head in (slice(0, 4), slice(4, 8)):
        scores = queries[:, head] @ both[:, :8][:, head].T / 2.0
        weights = np.exp(scores) / np.exp(scores).sum(axis=1, keepdims=True)
        mixed[:, head] = weights @ both[:, 8:][:, head]
    x = x + linear(mixed, "proj")
    inner = torch.nn.functional.gelu(torch.from_numpy(linear(norm(x), "mlp.fc1"))).numpy()
    expected = x + linear(inner, "mlp.fc2")
    np.testing.assert_allclose(out, expected)
    np.testing.assert_allclose(only, expected[3:])


def test_seconds_by_hand() -> None:
    times = torch.tensor([[[0, 1_533_000_000_200_000], [1_533_000_000_700_000, 0]]])
    valid = torch.tensor([[[False, True], [True, False]]])
    assert seconds_since_first(times, valid).tolist() == [[[0.0, 0.0], [0.5, 0.0]]]
    assert seconds_since_first(times, valid & False).tolist() == [[[0.0, 0.0], [0.0, 0.0]]]


def test_rays_are_not_rounded_under_autocast(clips: Clips) -> None:
    torch.manual_seed(0)
    embedding = GeometryEmbedding(16)
    seen: list[torch.Tensor] = []
    embedding.linear.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    embedding(clips, GRID)
    with torch.autocast("cpu", torch.bfloat16):
        embedding(clips, GRID)
    assert torch.equal(seen[0], seen[1])


def test_geometry_features_by_hand(clips: Clips) -> None:
    embedding = GeometryEmbedding(16)
    seen: list[torch.Tensor] = []
    embedding.linear.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    embedding(clips, GRID)
    # Second step, first camera: 3 m along x, 0.5 s later; centre of the cell (0, 0) of 2x3 cells
    # over 64x96 pixels is (16, 16), focal length 76.8, centre (48, 32).
    ray = np.array([(16 - 48) / 76.8, (16 - 32) / 76.8, 1.0])
    values = np.array([3.0, 0, 0, *ray / np.linalg.norm(ray), 0.5])
    values = values / [64, 64, 64, 4, 4, 4, 16]
    phases = (values[:, None] * 2 * np.pi * 2.0 ** np.arange(7)).ravel()
    expected = np.concatenate([values, np.sin(phases), np.cos(phases)])
    np.testing.assert_allclose(seen[0][0, 1, 0, 0], expected, atol=1e-5)


def test_all_hidden_is_refused_and_none_hidden_is_empty(clips: Clips) -> None:
    decoder = build()
    everything = torch.ones(2, 2, 2, *GRID, dtype=torch.bool)
    with pytest.raises(ValueError, match="every cell is hidden"):
        decoder(torch.zeros(2, 2, 2, 0, 8), everything, clips)
    assert decoder(torch.zeros(2, 2, 2, 6, 8), ~everything, clips).shape == (2, 2, 2, 0, 24)


def test_wrong_arguments_are_named() -> None:
    with pytest.raises(ValueError, match="attend='video' must be"):
        build(attend="video")
    with pytest.raises(ValueError, match="embed_dims 26 must be a multiple of 4"):
        build(embed_dims=26)
