"""Properties of every decoder."""

from collections.abc import Callable
from dataclasses import replace

import pytest
import torch

from drivemim.clips import Clips
from drivemim.models.encoders.masked_encoder import MaskedFeatures
from drivemim.models.patches import PatchMask

Build = Callable[..., torch.nn.Module]


def select(
    features: MaskedFeatures, change: Callable[[torch.Tensor], torch.Tensor]
) -> MaskedFeatures:
    """Features with every tensor changed alike."""
    return MaskedFeatures(
        tokens_XKD=change(features.tokens_XKD),
        maps_XCHW=tuple(change(each) for each in features.maps_XCHW),
    )


def run(
    decoder: torch.nn.Module, features: MaskedFeatures, mask_BTNhw: torch.Tensor, clips: Clips
) -> torch.Tensor:
    out: torch.Tensor = decoder(
        features, PatchMask.from_tensor(mask_BTNhw, 16, clips.valid_BTN), clips
    )
    return out


@pytest.mark.parametrize("scope", ["clip", "frame"])
def test_attention_scopes(
    build: Build, clips: Clips, mask: torch.Tensor, visible: MaskedFeatures, scope: str
) -> None:
    decoder = build(attention_scope=scope)
    before = run(decoder, visible, mask, clips)
    assert before.shape == (2, 2, 2, 4, decoder.out_channels)
    changed = visible.tokens_XKD.clone()
    changed[2, 1] += 1.0  # of the first clip, second time, first camera
    moved = (run(decoder, replace(visible, tokens_XKD=changed), mask, clips) - before).abs().amax(
        dim=(3, 4)
    ) > 0
    own = torch.zeros(2, 2, 2, dtype=torch.bool)
    own[0, 1, 0] = True
    whole_clip = torch.zeros(2, 2, 2, dtype=torch.bool)
    whole_clip[0] = True
    assert torch.equal(moved, own if scope == "frame" else whole_clip)


@pytest.mark.parametrize("scope", ["clip", "frame"])
def test_invalid_frames_do_not_change_the_predictions_of_others(
    build: Build, clips: Clips, mask: torch.Tensor, visible: MaskedFeatures, scope: str
) -> None:
    valid = clips.valid_BTN.clone()
    valid[0, 0, 1] = valid[1, 1, 1] = False
    clips = replace(clips, valid_BTN=valid)
    decoder = build(attention_scope=scope)
    before = run(decoder, visible, mask, clips)
    changed = select(
        visible, lambda each: each.masked_fill(~valid.view(8, *[1] * (each.ndim - 1)), 1e4)
    )
    poses = torch.where(valid[..., None, None], clips.camera_to_clip_BTN44, torch.eye(4) * 9)
    other = replace(
        clips,
        camera_to_clip_BTN44=poses,
        timestamps_BTN=clips.timestamps_BTN.masked_fill(~valid, 0),
    )
    after = run(decoder, changed, mask, other)
    assert torch.equal(before[valid], after[valid])


def test_a_clip_does_not_depend_on_its_batch(
    build: Build, build_clips: Callable[..., Clips], mask: torch.Tensor, visible: MaskedFeatures
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
    alone = run(decoder, select(visible, lambda each: each[:4]), mask[:1], first)
    torch.testing.assert_close(run(decoder, visible, mask, both)[:1], alone)


@pytest.mark.parametrize("scope", ["clip", "frame"])
def test_a_clip_without_valid_frames_is_finite(
    build: Build, clips: Clips, mask: torch.Tensor, visible: MaskedFeatures, scope: str
) -> None:
    valid = clips.valid_BTN.clone()
    valid[0] = False
    decoder = build(attention_scope=scope)
    out = run(decoder, visible, mask, replace(clips, valid_BTN=valid))
    assert out.isfinite().all()
    out[1].square().sum().backward()
    for name, parameter in decoder.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.isfinite().all(), name


def test_poses_and_times_matter(
    build: Build, clips: Clips, mask: torch.Tensor, visible: MaskedFeatures
) -> None:
    decoder = build()
    before = run(decoder, visible, mask, clips)
    poses = clips.camera_to_clip_BTN44.clone()
    poses[:, 1, :, 0, 3] += 2.0
    times = clips.timestamps_BTN.clone()
    times[:, 1] += 100_000
    for other in (
        replace(clips, camera_to_clip_BTN44=poses),
        replace(clips, timestamps_BTN=times),
        replace(clips, intrinsics_BTN33=clips.intrinsics_BTN33 * torch.tensor([2.0, 1, 1])),
    ):
        assert (run(decoder, visible, mask, other) - before).abs().max() > 1e-4
    # Only differences of time count.
    later = replace(clips, timestamps_BTN=clips.timestamps_BTN + 3_600_000_000)
    assert torch.equal(run(decoder, visible, mask, later), before)


def test_all_hidden_is_refused_and_none_hidden_is_empty(
    build: Build, clips: Clips, visible: MaskedFeatures
) -> None:
    decoder = build()
    everything = torch.ones_like(clips.valid_BTN)[..., None, None].expand(-1, -1, -1, 2, 3)
    nothing = MaskedFeatures(tokens_XKD=torch.zeros(8, 0, 8), maps_XCHW=visible.maps_XCHW)
    with pytest.raises(ValueError, match="is hidden, so nothing can be predicted"):
        run(decoder, nothing, everything, clips)
    whole = MaskedFeatures(tokens_XKD=torch.zeros(8, 6, 8), maps_XCHW=visible.maps_XCHW)
    assert run(decoder, whole, ~everything, clips).shape == (2, 2, 2, 0, decoder.out_channels)


def test_wrong_arguments_are_named(build: Build) -> None:
    with pytest.raises(ValueError, match="attention_scope='video' must be"):
        build(attention_scope="video")
    with pytest.raises(ValueError, match="a multiple of 4"):
        build(num_heads=5)
    with pytest.raises(ValueError, match="depth 0"):
        build(depth=0)
    with pytest.raises(ValueError, match="attention_init='zero' must be"):
        build(attention_init="zero")
