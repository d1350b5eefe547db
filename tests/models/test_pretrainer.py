import copy
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from mmengine.model import BaseModel

from drivemim.clips import Clips
from drivemim.errors import ConfigError
from drivemim.models.patches import PatchMask
from drivemim.registry import MODELS

Build = Callable[..., BaseModel]
BOTH = pytest.mark.parametrize("encoder", ["vit", "resnet"])
DECODERS = pytest.mark.parametrize("decoder", ["clip", "pyramid"])


@DECODERS
@BOTH
def test_loss_by_hand(build_pretrainer: Build, clips: Clips, encoder: str, decoder: str) -> None:
    model = build_pretrainer(encoder, decoder=decoder).eval()
    losses = model(clips, mode="loss")
    mask = model.mask(clips)
    images = model.data_preprocessor.normalize(clips.images_BTNHWC)
    patch_mask = model.patch_mask(mask, clips)
    predictions = model.decode(model.encode(images, patch_mask), patch_mask, clips)

    stride = model.encoder.mask_patch_size
    statistics = (np.array([123.675, 116.28, 103.53]), np.array([58.395, 57.12, 57.375]))
    errors = []
    for place in np.ndindex(*clips.shape):
        image = clips.images_BTNHWC[place].numpy().astype(np.float64)[..., ::-1]
        image = ((image - statistics[0]) / statistics[1]).transpose(2, 0, 1)
        for number, (row, column) in enumerate(mask[place].nonzero().tolist()):
            rows, columns = (slice(at * stride, (at + 1) * stride) for at in (row, column))
            patch = image[:, rows, columns].ravel()
            patch = (patch - patch.mean()) / np.sqrt(patch.var() + 1e-6)
            errors.append(((predictions[place][number].detach().numpy() - patch) ** 2).mean())
    assert losses["loss"].item() == pytest.approx(np.mean(errors), rel=1e-4)
    assert losses["mask_ratio"].item() == 0.5


def ragged_mask(clips: Clips, grid: tuple[int, int] = (4, 6)) -> torch.Tensor:
    """Frames that hide between a sixth and all of their patches."""
    noise = torch.rand(*clips.shape, *grid, generator=torch.Generator().manual_seed(8))
    fractions = torch.linspace(0.2, 0.9, clips.valid_BTN.numel()).reshape(clips.shape)
    mask = noise < fractions[..., None, None]
    mask[:, -1, -1] = True
    return mask


@DECODERS
def test_frames_may_hide_more_or_less(
    build_pretrainer: Build, clips: Clips, monkeypatch: pytest.MonkeyPatch, decoder: str
) -> None:
    """If frames attend to themselves only, a batch has the mean loss of its single frames."""
    model = build_pretrainer("vit", decoder=decoder, attention_scope="frame").eval()
    mask = ragged_mask(clips)
    mask[:, -1, -1, 0] = False
    monkeypatch.setattr(model, "mask", lambda clips, teacher_map_BTNhw=None: mask)
    together = model(clips, mode="loss")["loss"]
    images = model.data_preprocessor.normalize(clips.images_BTNHWC)
    costs = []
    for b, t, n in np.ndindex(*clips.shape):
        frame = (slice(b, b + 1), slice(t, t + 1), slice(n, n + 1))
        times = clips.timestamps_BTN - clips.timestamps_BTN[b, 0, 0]
        one = Clips(
            **{
                name: value[frame] if name.endswith(tuple("34MCNP")) else value[b : b + 1]
                for name, value in vars(replace(clips, timestamps_BTN=times)).items()
                if name not in ("tokens", "unknown")
            },
            tokens=((("frame",),),),
        )
        valid = torch.ones(1, 1, 1, dtype=torch.bool)
        # The time since the clip began is part of a patch's place, so it is given as it was.
        monkeypatch.setattr(
            "drivemim.models.decoders.context.seconds_since_first",
            lambda times, valid: times.float() * 1e-6,
        )
        patch_mask = PatchMask.from_tensor(mask[frame], 16, valid)
        visible = model.encode(images[frame], patch_mask)
        predictions = model.decode(visible, patch_mask, one)
        errors = model.target.errors(predictions, model.target(images[frame], patch_mask))
        costs.append(errors.flatten())
        monkeypatch.undo()
    assert len({len(each) for each in costs}) > 3
    assert together.item() == pytest.approx(torch.cat(costs).mean().item(), rel=1e-5)


@DECODERS
@BOTH
def test_a_frame_may_be_hidden_whole(
    build_pretrainer: Build,
    clips: Clips,
    encoder: str,
    monkeypatch: pytest.MonkeyPatch,
    decoder: str,
) -> None:
    model = build_pretrainer(encoder, decoder=decoder).eval()
    grid = (64 // model.encoder.mask_patch_size, 96 // model.encoder.mask_patch_size)
    mask = ragged_mask(clips, grid)
    monkeypatch.setattr(model, "mask", lambda clips, teacher_map_BTNhw=None: mask)
    losses = model(clips, mode="loss")
    losses["loss"].backward()
    assert all(p.grad is None or p.grad.isfinite().all() for p in model.parameters())
    reconstruction = model(clips, mode="predict")
    hidden = mask.repeat_interleave(model.encoder.mask_patch_size, 3)
    hidden = hidden.repeat_interleave(model.encoder.mask_patch_size, 4)
    assert torch.equal(reconstruction.images_BTNHWC[~hidden], clips.images_BTNHWC[~hidden])
    assert (reconstruction.errors_BTNhw[~mask] == 0).all()
    mean = reconstruction.errors_BTNhw[mask].mean().item()
    assert losses["loss"].item() == pytest.approx(mean, rel=1e-5)
    # What is hidden has no influence on what is predicted.
    changed = clips.images_BTNHWC.clone()
    changed[:, -1, -1] = 255 - changed[:, -1, -1]
    images = [model.data_preprocessor.normalize(each) for each in (clips.images_BTNHWC, changed)]
    patch_mask = model.patch_mask(mask, clips)
    before, after = (
        model.decode(model.encode(each, patch_mask), patch_mask, clips) for each in images
    )
    assert torch.equal(before, after)


@DECODERS
@BOTH
@pytest.mark.parametrize("scope", ["clip", "frame"])
def test_gradients_reach_every_parameter(
    build_pretrainer: Build, clips: Clips, encoder: str, scope: str, decoder: str
) -> None:
    model = build_pretrainer(encoder, decoder=decoder, attention_scope=scope).train()
    with torch.no_grad():  # a residual branch that starts at zero passes no gradient on
        for parameter in model.parameters():
            parameter.add_(0.01 * torch.randn_like(parameter))
    model(clips, mode="loss")["loss"].backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.isfinite().all(), name
        assert (parameter.grad != 0).any(), name


@DECODERS
@BOTH
@pytest.mark.parametrize("training", [True, False])
def test_invalid_frames_have_no_influence(
    build_pretrainer: Build, clips: Clips, encoder: str, training: bool, decoder: str
) -> None:
    valid = clips.valid_BTN.clone()
    valid[0, 0, 1] = valid[1, 1, 0] = False
    clips = replace(clips, valid_BTN=valid)
    gap = ~valid[..., None, None]
    other = replace(
        clips,
        images_BTNHWC=torch.where(gap[..., None], 200, clips.images_BTNHWC).to(torch.uint8),
        camera_to_clip_BTN44=torch.where(gap, torch.eye(4) * 3, clips.camera_to_clip_BTN44),
        intrinsics_BTN33=torch.where(gap, torch.eye(3), clips.intrinsics_BTN33),
        timestamps_BTN=clips.timestamps_BTN.masked_fill(~valid, 0),
    )
    first = build_pretrainer(encoder, decoder=decoder).train(training)
    second = copy.deepcopy(first)
    losses = [
        model(batch, mode="loss")["loss"] for model, batch in ((first, clips), (second, other))
    ]
    assert torch.equal(*losses)
    for loss in losses:
        loss.backward()
    for one, two in zip(first.parameters(), second.parameters(), strict=True):
        assert one.grad is not None
        assert torch.equal(one.grad, two.grad)
    for one, two in zip(first.buffers(), second.buffers(), strict=True):
        assert torch.equal(one, two)
    filled = [
        model.eval()(batch, mode="predict") for model, batch in ((first, clips), (second, other))
    ]
    assert torch.equal(filled[0].images_BTNHWC[valid], filled[1].images_BTNHWC[valid])
    assert torch.equal(filled[0].errors_BTNhw, filled[1].errors_BTNhw)
    assert (filled[0].errors_BTNhw[~valid] == 0).all()
    assert torch.equal(filled[0].images_BTNHWC[~valid], clips.images_BTNHWC[~valid])


@DECODERS
@BOTH
def test_nothing_valid_is_zero_loss_and_zero_gradients(
    build_pretrainer: Build, clips: Clips, encoder: str, decoder: str
) -> None:
    model = build_pretrainer(encoder, decoder=decoder).train()
    loss = model(replace(clips, valid_BTN=clips.valid_BTN & False), mode="loss")["loss"]
    assert loss.item() == 0.0
    loss.backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None, name
        assert (parameter.grad == 0).all(), name


def test_a_clips_mask_depends_on_its_seed_alone(build_pretrainer: Build, clips: Clips) -> None:
    model = build_pretrainer()
    mask = model.mask(clips)
    torch.manual_seed(99)
    assert torch.equal(model.mask(clips), mask)
    swapped = model.mask(replace(clips, seeds_B=clips.seeds_B.flip(0)))
    assert torch.equal(swapped, mask.flip(0))
    assert not torch.equal(mask[0], mask[1])


def test_reconstruction_fills_hidden_patches_only(build_pretrainer: Build, clips: Clips) -> None:
    model = build_pretrainer().eval()
    result = model(clips, mode="predict")
    hidden = result.mask_BTNhw.repeat_interleave(16, -2).repeat_interleave(16, -1)
    assert torch.equal(result.images_BTNHWC[~hidden], clips.images_BTNHWC[~hidden])
    assert not torch.equal(result.images_BTNHWC[hidden], clips.images_BTNHWC[hidden])
    assert ((result.errors_BTNhw > 0) == result.mask_BTNhw).all()
    loss = model(clips, mode="loss")["loss"]
    assert result.errors_BTNhw[result.mask_BTNhw].mean().item() == pytest.approx(loss.item())


@pytest.mark.parametrize(
    ("target", "note"),
    [
        ("NormalizedPixels", "each hidden patch with its true mean and contrast"),
        ("PooledPixels", "one predicted mean colour per square of a hidden patch"),
        ("OrientedGradients", "strokes along the predicted edges, on mid grey"),
    ],
)
def test_a_reconstruction_has_the_note_of_its_target(
    build_pretrainer: Build, clips: Clips, target: str, note: str
) -> None:
    model = build_pretrainer().eval()
    model.target = MODELS.build(dict(type=target))
    model.head = torch.nn.Linear(model.head.in_features, model.target.channels(16))
    assert model(clips, mode="predict").pixels_note == note


def test_only_targets_without_a_note_draw_the_same_for_another_truth(
    build_pretrainer: Build, clips: Clips
) -> None:
    """Hidden pixels of ``NormalizedPixels`` follow the true brightness; others' do not."""
    changes = {}
    for name in ("NormalizedPixels", "PooledPixels", "OrientedGradients"):
        target = MODELS.build(dict(type=name))
        mask = PatchMask.from_tensor(build_pretrainer().mask(clips), 16)
        images = torch.zeros(*clips.shape, 3, *clips.image_size)
        predictions = torch.zeros_like(target(images, mask))
        drawn = [target.to_pixels(predictions, images + each, mask) for each in (0.0, 3.0)]
        changes[name] = float((drawn[1] - drawn[0]).abs().max())
    assert changes == {"NormalizedPixels": 3.0, "PooledPixels": 0.0, "OrientedGradients": 0.0}


def test_a_perfect_prediction_gives_the_image_back(
    build_pretrainer: Build, clips: Clips, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = build_pretrainer().eval()
    images = model.data_preprocessor.normalize(clips.images_BTNHWC)
    monkeypatch.setattr(model, "decode", lambda _, mask, __: model.target(images, mask))
    result = model(clips, mode="predict")
    assert torch.equal(result.images_BTNHWC, clips.images_BTNHWC)
    assert (result.errors_BTNhw == 0).all()


@BOTH
def test_tensor_mode_is_the_backbone_of_every_frame(
    build_pretrainer: Build, clips: Clips, encoder: str
) -> None:
    model = build_pretrainer(encoder).eval()
    maps = model(clips, mode="tensor")
    image = model.data_preprocessor.normalize(clips.images_BTNHWC)[1, 0, 1]
    for all_frames, one in zip(maps, model.encoder.backbone(image[None]), strict=True):
        assert all_frames.shape[0] == 8
        torch.testing.assert_close(all_frames[5:6], one)


@DECODERS
@BOTH
def test_training_step_lowers_the_loss(
    build_pretrainer: Build, clips: Clips, encoder: str, decoder: str
) -> None:
    from mmengine.optim import OptimWrapper

    model = build_pretrainer(encoder, decoder=decoder).train()
    wrapper = OptimWrapper(torch.optim.AdamW(model.parameters(), lr=3e-3))
    losses = [model.train_step(clips, wrapper)["loss"].item() for _ in range(12)]
    assert losses[-1] < losses[0] - 0.05


@DECODERS
@BOTH
def test_bfloat16_is_close_to_float32(
    build_pretrainer: Build, clips: Clips, encoder: str, decoder: str
) -> None:
    model = build_pretrainer(encoder, decoder=decoder).train()
    exact = model(clips, mode="loss")["loss"]
    with torch.autocast("cpu", torch.bfloat16):
        rough = model(clips, mode="loss")["loss"]
    rough.backward()
    assert rough.dtype == torch.float32
    assert rough.item() == pytest.approx(exact.item(), rel=0.02)
    assert all(each.grad is not None and each.grad.isfinite().all() for each in model.parameters())


def test_image_size_must_be_whole_patches(
    build_pretrainer: Build, build_clips: Callable[..., Clips]
) -> None:
    with pytest.raises(ValueError, match="image size 72x96 .* patch size 16"):
        build_pretrainer()(build_clips(size=(72, 96)), mode="loss")


def test_encoder_weights_are_named_encoder(build_pretrainer: Build) -> None:
    parts = {name.split(".")[0] for name in build_pretrainer().state_dict()}
    assert parts == {"encoder", "decoder", "head"}
    names = build_pretrainer("resnet").state_dict()
    assert "encoder.backbone.layer1.0.conv1.weight" in names


@pytest.mark.parametrize("step", ["import", "train"])
def test_a_vit_needs_no_compiled_mmcv(step: str, repository: Path) -> None:
    programme = """
import sys
import drivemim.models
if sys.argv[1] == "train":
    sys.path.insert(0, "tests/models")
    from conftest import make_clips, make_pretrainer
    make_pretrainer()(make_clips(), mode="loss")["loss"].backward()
wrong = [name for name in sys.modules if name.split(".")[0] == "mmdet" or name == "mmcv.ops"]
if sys.argv[1] == "import":
    wrong += [name for name in sys.modules if name == "mmcv"]
print(wrong)
"""
    done = subprocess.run(
        [sys.executable, "-c", programme, step],
        cwd=repository, capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert done.stdout.splitlines()[-1] == "[]"


@DECODERS
@pytest.mark.parametrize("with_cp", [False, True])
def test_a_batch_without_valid_frames_leaves_batch_statistics(
    build_pretrainer: Build, clips: Clips, decoder: str, with_cp: bool
) -> None:
    """The running mean after a valid batch and two invalid ones: 0.1 times the valid one's mean."""
    model = build_pretrainer("resnet", decoder=decoder)
    if decoder == "pyramid":
        neck = dict(type="mmdet.FPN", in_channels=[16, 32, 64], out_channels=8, num_outs=3)
        model.decoder.neck = MODELS.build(neck | dict(norm_cfg=dict(type="BN")))
    model.train()
    for block in model.encoder.backbone.modules():
        if hasattr(block, "with_cp"):
            block.with_cp = with_cp
    nothing = replace(clips, valid_BTN=clips.valid_BTN & False)
    model(nothing, mode="loss")["loss"].backward()
    for name, value in model.named_buffers():
        if name.endswith("running_mean"):
            assert (value == 0).all(), name
        elif name.endswith("running_var"):
            assert (value == 1).all(), name
        elif name.endswith("num_batches_tracked"):
            assert value == 0, name
    mask = model.mask(clips)
    model(clips, mode="loss")["loss"].backward()
    model(nothing, mode="loss")["loss"].backward()
    # The first layer by hand: what the stem's convolution makes of the visible pixels.
    stride, stem = model.encoder.mask_patch_size, model.encoder.backbone.conv1
    hidden = mask.flatten(0, 2).repeat_interleave(stride, 1).repeat_interleave(stride, 2)
    images = model.data_preprocessor.normalize(clips.images_BTNHWC).flatten(0, 2)
    convolved = stem(images.masked_fill(hidden[:, None], 0.0)).movedim(1, -1)
    seen = convolved[~hidden[:, ::2, ::2]].double()
    norm = model.encoder.backbone.bn1
    torch.testing.assert_close(norm.running_mean.double(), 0.1 * seen.mean(0), atol=1e-6, rtol=1e-5)
    expected = 0.9 + 0.1 * seen.var(0, correction=1)
    torch.testing.assert_close(norm.running_var.double(), expected, atol=1e-6, rtol=1e-5)
    counts = [value for name, value in model.named_buffers() if name.endswith("tracked")]
    assert all(count == 1 for count in counts)


def test_images_without_calibration_train_where_frames_stand_alone(
    build_pretrainer: Build, clips: Clips
) -> None:
    bare = Clips.from_images(clips.images_BTNHWC, seed=11)
    model = build_pretrainer(decoder="pyramid", attention_scope="frame").eval()
    assert torch.equal(model(bare, mode="loss")["loss"], model(clips, mode="loss")["loss"])
    with pytest.raises(ConfigError, match="needs the intrinsics and poses and timestamps"):
        build_pretrainer(decoder="pyramid").eval()(bare, mode="loss")
