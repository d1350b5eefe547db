from collections.abc import Callable
from dataclasses import replace
from math import log

import pytest
import torch
from mmengine.model import BaseModel

from drivemim.clips import Clips
from drivemim.errors import ConfigError
from drivemim.models import LidarTarget
from drivemim.models.patches import PatchMask

FOCAL = 100.0
SIZE = (32, 64)  # 2 x 4 patches of 16 pixels, 4 x 4 squares of 4 pixels in each
CAMERA_HEIGHT = 1.5


def street_clips(points: list[list[tuple[float, float, float]]]) -> Clips:
    """One frame per list of points (x, y, depth); the camera is 1.5 m above the ground."""
    most = max(map(len, points))
    padded = [[*each, *[(0.0, 0.0, float("inf"))] * (most - len(each))] for each in points]
    pose = torch.eye(4)
    pose[:3, :3] = torch.tensor([[0.0, 0, 1], [-1, 0, 0], [0, -1, 0]])
    pose[2, 3] = CAMERA_HEIGHT
    H, W = SIZE
    return Clips.from_images(
        torch.zeros(len(points), H, W, 3, dtype=torch.uint8),
        intrinsics=torch.tensor([[FOCAL, 0, W / 2], [0, FOCAL, H / 2], [0, 0, 1.0]]),
        poses=pose,
        points=torch.tensor(padded).reshape(len(points), most, 3),
    )


def test_scale_and_height_by_hand() -> None:
    clips = street_clips([[(33.0, 21.0, 20.0), (62.5, 5.0, 10.0)]])
    values, known = LidarTarget()(clips, (2, 4))
    assert values.shape == (1, 8, 16, 2)
    assert known.shape == (1, 8, 16)
    # (33, 21) lies in patch (1, 2), number 6: row 5 and column 1 of it, square 1 * 4 + 0.
    # It is 5 pixels below the horizon: 1.5 m - 5 * 20 / 100 = 0.5 m above the ground.
    # (62.5, 5) lies in patch (0, 3): row 5, column 14.5, square 1 * 4 + 3; it is 11 pixels above
    # the horizon: 1.5 + 11 * 10 / 100 = 2.6 m above the ground.
    assert known.nonzero().tolist() == [[0, 3, 7], [0, 6, 4]]
    assert values[0, 6, 4].tolist() == pytest.approx([log(100 / 20 / 16), 0.5], abs=1e-5)
    assert values[0, 3, 7].tolist() == pytest.approx([log(100 / 10 / 16), 2.6], abs=1e-5)
    assert values[~known].abs().sum() == 0


def test_the_nearest_return_of_a_square_counts() -> None:
    wall, post = (10.0, 2.0, 40.0), (11.0, 1.0, 8.0)  # 7.1 m and 2.7 m above the ground
    for order in ([wall, post], [post, wall]):
        values, known = LidarTarget()(street_clips([order]), (2, 4))
        assert known.sum() == 1
        assert values[known][0].tolist() == pytest.approx([log(100 / 8 / 16), 2.7], abs=1e-5)


def test_heights_are_clipped() -> None:
    clips = street_clips([[(10.0, 2.0, 40.0), (10.0, 30.0, 30.0)]])  # 7.1 m above, 2.7 m below
    values, known = LidarTarget()(clips, (2, 4))
    assert sorted(values[known][:, 1].tolist()) == [0.0, 3.0]


def test_points_outside_the_image_and_invalid_frames_say_nothing() -> None:
    outside = [(-1.0, 3.0, 5.0), (64.0, 3.0, 5.0), (3.0, 32.0, 5.0), (3.0, -0.5, 5.0)]
    clips = street_clips([outside, [(3.0, 3.0, 5.0)]])
    assert LidarTarget()(clips, (2, 4))[1].sum(dim=(1, 2)).tolist() == [0, 1]
    clips = replace(clips, valid_BTN=torch.zeros_like(clips.valid_BTN))
    values, known = LidarTarget()(clips, (2, 4))
    assert not known.any()
    assert not values.any()


def test_a_crop_shifts_scale_like_the_image() -> None:
    """An image enlarged twice has twice the patches per metre at the same point."""
    clips = street_clips([[(33.0, 21.0, 20.0)]])
    (near,), (far,) = (
        target[known][:, 0]
        for target, known in (
            LidarTarget()(
                replace(clips, intrinsics_BTN33=clips.intrinsics_BTN33 * torch.tensor(factor)),
                (2, 4),
            )
            for factor in ([[[[[2.0], [2.0], [1.0]]]]], [[[[[1.0], [1.0], [1.0]]]]])
        )
    )
    assert (near - far).item() == pytest.approx(log(2), abs=1e-6)


def test_loss_by_hand() -> None:
    clips = street_clips([[(33.0, 21.0, 20.0), (62.5, 5.0, 10.0)], []])
    hidden = torch.zeros(2, 1, 1, 2, 4, dtype=torch.bool)
    hidden[0, 0, 0, 1, 2] = True  # the patch of the first point only
    mask, images = PatchMask.from_tensor(hidden, 16), torch.zeros(2, 1, 1, 3, 32, 64)
    predictions = torch.zeros(2, 8, 32)
    first = (log(100 / 20 / 16) ** 2 + 0.5**2) / 2
    second = (log(100 / 10 / 16) ** 2 + 2.6**2) / 2
    loss = LidarTarget().auxiliary_loss(predictions, images, clips, mask).item()
    assert loss == pytest.approx((first + second) / 2, rel=1e-5)
    target = LidarTarget(patches="hidden", weight=3.0)
    loss = target.auxiliary_loss(predictions, images, clips, mask).item()
    assert loss == pytest.approx(3 * first, rel=1e-5)


def test_no_lidar_gives_zero_gradients() -> None:
    predictions = torch.ones(1, 8, 32, requires_grad=True)
    mask = PatchMask.from_tensor(torch.zeros(1, 1, 1, 2, 4).bool(), 16)
    images = torch.zeros(1, 1, 1, 3, 32, 64)
    loss = LidarTarget().auxiliary_loss(predictions, images, street_clips([[]]), mask)
    loss.backward()
    assert loss.item() == 0
    assert predictions.grad is not None
    assert not predictions.grad.any()


def test_placebo_has_another_clips_values() -> None:
    clips = street_clips([[(33.0, 21.0, 20.0)], [(62.5, 5.0, 10.0)], []])
    values, known = LidarTarget()(clips, (2, 4))
    moved, moved_known = LidarTarget(placebo=True)(clips, (2, 4))
    assert torch.equal(moved, values[[2, 0, 1]])
    assert torch.equal(moved_known, known[[2, 0, 1]])


def test_a_placebo_needs_another_clip_and_valid_frames() -> None:
    one = street_clips([[(33.0, 21.0, 20.0)]])
    with pytest.raises(ConfigError, match="train_dataloader.batch_size=2"):
        LidarTarget(placebo=True)(one, (2, 4))
    clips = street_clips([[(33.0, 21.0, 20.0)], [(62.5, 5.0, 10.0)]])
    valid = torch.tensor([[[True]], [[False]]])
    _, known = LidarTarget(placebo=True)(replace(clips, valid_BTN=valid), (2, 4))
    assert not known.any()  # the valid clip gets an invalid one's values, and the other way round


def test_mixed_precision_changes_no_target() -> None:
    clips = street_clips([[(33.0, 21.0, 23.7), (62.5, 5.0, 41.3)]])
    values, known = LidarTarget()(clips, (2, 4))
    with torch.autocast("cpu", torch.bfloat16):
        mixed, mixed_known = LidarTarget()(clips, (2, 4))
    assert torch.equal(mixed, values)
    assert torch.equal(mixed_known, known)


@pytest.mark.parametrize(
    "settings", [dict(size=0), dict(max_height=0.0), dict(weight=0.0), dict(patches="visible")]
)
def test_wrong_settings(settings: dict[str, object]) -> None:
    with pytest.raises(ConfigError, match="LidarTarget"):
        LidarTarget(**settings)  # type: ignore[arg-type]  # wrong on purpose
    with pytest.raises(ConfigError, match="size=5 must divide mask_patch_size=16"):
        LidarTarget(size=5).channels(16)


def with_points(clips: Clips) -> Clips:
    generator = torch.Generator().manual_seed(4)
    points = torch.rand(*clips.shape, 50, 3, generator=generator)
    H, W = clips.image_size
    return replace(clips, points_BTNP3=points * torch.tensor([W, H, 40.0]) + 1.0)


@pytest.mark.parametrize("encoder", ["vit", "resnet"])
def test_pretrainer_adds_the_loss(
    build_pretrainer: Callable[..., BaseModel], clips: Clips, encoder: str
) -> None:
    """The other losses and the other initial weights stay what they are without it."""
    clips = with_points(clips)
    patch = 16 if encoder == "vit" else 32
    plain = build_pretrainer(encoder, decoder="pyramid")
    model = build_pretrainer(encoder, decoder="pyramid", auxiliary=[dict(type="LidarTarget")])
    own = model.state_dict()
    assert all(torch.equal(own[name], value) for name, value in plain.state_dict().items())
    before, losses = plain(clips, mode="loss"), model(clips, mode="loss")
    assert torch.allclose(losses["loss"], before["loss"], atol=1e-6)
    assert losses["loss_lidar"] > 0
    losses["loss_lidar"].backward()
    gradients = [each.grad for each in model.encoder.parameters() if each.requires_grad]
    assert any(each is not None and bool(each.any()) for each in gradients)
    assert model.auxiliary_heads[0].out_features == 2 * (patch // 4) ** 2


def test_hidden_pixels_reach_no_auxiliary_prediction(
    build_pretrainer: Callable[..., BaseModel], clips: Clips, monkeypatch: pytest.MonkeyPatch
) -> None:
    clips = with_points(clips)
    model = build_pretrainer("vit", decoder="pyramid", auxiliary=[dict(type="LidarTarget")]).eval()
    mask = model.mask(clips)
    monkeypatch.setattr(model, "mask", lambda clips, teacher_map=None: mask)
    hidden = mask.repeat_interleave(16, -2).repeat_interleave(16, -1)[..., None]
    changed = replace(clips, images_BTNHWC=clips.images_BTNHWC.masked_fill(hidden, 7))
    one, other = (model(each, mode="loss")["loss_lidar"] for each in (clips, changed))
    assert torch.equal(one, other)
    shown = replace(clips, images_BTNHWC=clips.images_BTNHWC.masked_fill(~hidden, 7))
    assert not torch.equal(one, model(shown, mode="loss")["loss_lidar"])


def test_decoders_without_visible_patches_and_equal_names_are_refused(
    build_pretrainer: Callable[..., BaseModel],
) -> None:
    with pytest.raises(ConfigError, match="ClipDecoder does not do; use a PyramidDecoder"):
        build_pretrainer("vit", decoder="clip", auxiliary=[dict(type="LidarTarget")])
    twice = [dict(type="LidarTarget"), dict(type="LidarTarget")]
    with pytest.raises(ConfigError, match="two have the same name"):
        build_pretrainer("vit", decoder="pyramid", auxiliary=twice)
