"""Teachers in the pretrainer."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
from mmengine.model import BaseModel
from mmengine.optim import OptimWrapper

from drivemim.clips import Clips
from drivemim.models import MaskingTeacher
from drivemim.registry import MODELS

Build = Callable[..., BaseModel]
GUIDED = dict(type="GuidedMask", mask_ratio=0.5, budget_fraction=1.0, temperature=0)
PREDICTOR = dict(teacher=dict(type="LossPredictor"), masking=GUIDED)
TEACHER = dict(teacher=dict(type="TeacherAttention", scale=0.5), masking=GUIDED)


class Brightness(MaskingTeacher):
    """The brighter, the sooner hidden."""

    def __init__(self, *, encoder: Any) -> None:
        super().__init__()
        self.stride = encoder.mask_patch_size

    def forward(self, images: torch.Tensor, grid: tuple[int, int]) -> torch.Tensor:
        patches = images.mean(-3).unfold(-2, self.stride, self.stride)
        return patches.unfold(-2, self.stride, self.stride).mean((-2, -1))


MODELS.register_module(name="BrightnessForTests", module=Brightness, force=True)


@pytest.mark.parametrize("mode", ["loss", "predict", "mask"])
def test_masks_follow_the_teacher(build_pretrainer: Build, clips: Clips, mode: str) -> None:
    clips = replace(clips, images_BTNHWC=clips.images_BTNHWC.clone())
    clips.images_BTNHWC[:, :, :, :32] = 255  # two of four rows of patches
    model = build_pretrainer(teacher=dict(type="BrightnessForTests"), masking=GUIDED).eval()
    masks = []
    own = model.masking.__call__
    model.masking = lambda *args, **kwargs: masks.append(own(*args, **kwargs)) or masks[-1]
    model.mask(clips) if mode == "mask" else model(clips, mode=mode)
    assert masks[0][..., :2, :].all()
    assert not masks[0][..., 2:, :].any()


@pytest.mark.parametrize("others", [PREDICTOR, TEACHER], ids=["predictor", "teacher"])
@pytest.mark.parametrize("missing", [False, True])
def test_a_few_steps_stay_finite(
    build_pretrainer: Build, clips: Clips, others: dict[str, Any], missing: bool
) -> None:
    model = build_pretrainer(**others).train()
    if missing:
        clips = replace(clips, valid_BTN=clips.valid_BTN.clone())
        clips.valid_BTN[0, 0] = False
    wrapper = OptimWrapper(torch.optim.AdamW(model.parameters(), lr=3e-3))
    for _ in range(3):
        losses = model.train_step(clips, wrapper)
        assert all(torch.isfinite(value) for value in losses.values())
    assert all(value.isfinite().all() for value in model.state_dict().values())
    assert model.eval()(clips, mode="predict").errors_BTNhw.isfinite().all()


def test_the_predictor_is_taught_the_errors_of_hidden_patches(
    build_pretrainer: Build, clips: Clips, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = build_pretrainer(**PREDICTOR).eval()
    given: list[torch.Tensor] = []
    monkeypatch.setattr(model.teacher, "loss", lambda *args: given.extend(args))
    model(clips, mode="loss")
    result = model(clips, mode="predict")
    _, errors, mask, valid = given
    assert mask.equal(result.mask_BTNhw)
    torch.testing.assert_close(errors, result.errors_BTNhw)
    assert not errors.requires_grad
    assert valid.equal(clips.valid_BTN)


def test_neither_learns_from_the_other(build_pretrainer: Build, clips: Clips) -> None:
    """The reconstruction's gradient stays out of the predictor, the predictor's in it."""
    model = build_pretrainer(**PREDICTOR).train()
    with torch.no_grad():  # a head of zeros passes no gradient on
        model.teacher.head.weight.normal_()
    losses = model(clips, mode="loss")
    losses["loss"].backward(retain_graph=True)
    for name, parameter in model.named_parameters():
        assert (parameter.grad is None) == name.startswith("teacher."), name
    model.zero_grad()
    losses["loss_teacher"].backward()
    for name, parameter in model.named_parameters():
        assert (parameter.grad is not None) == name.startswith("teacher."), name
        # Only differences of predictions count: the last bias has a gradient of 0 but for rounding
        if parameter.grad is not None and name != "teacher.head.bias":
            assert (parameter.grad != 0).any(), name


def test_every_parameter_has_a_gradient_with_nothing_valid(
    build_pretrainer: Build, clips: Clips
) -> None:
    model = build_pretrainer(**PREDICTOR).train()
    losses = model(replace(clips, valid_BTN=clips.valid_BTN & False), mode="loss")
    (losses["loss"] + losses["loss_teacher"]).backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None, name
        assert (parameter.grad == 0).all(), name


def test_a_teacher_leaves_the_first_weights_of_the_others_as_they_are(
    build_pretrainer: Build,
) -> None:
    plain = build_pretrainer().state_dict()
    for others in (PREDICTOR, TEACHER):
        guided = build_pretrainer(**others).state_dict()
        assert {name.split(".")[0] for name in set(guided) - set(plain)} == {"teacher"}
        assert all(torch.equal(guided[name], plain[name]) for name in plain)


def test_bfloat16_is_near(build_pretrainer: Build, clips: Clips) -> None:
    for others in (PREDICTOR, TEACHER):
        model = build_pretrainer(**others).train()
        with torch.autocast("cpu", torch.bfloat16):
            losses = model(clips, mode="loss")
        assert all(value.isfinite() for value in losses.values())
        sum(value for name, value in losses.items() if "loss" in name).backward()


def test_a_guided_mask_without_a_teacher_says_so(build_pretrainer: Build, clips: Clips) -> None:
    with pytest.raises(ValueError, match="set the pretrainer's teacher"):
        build_pretrainer(masking=GUIDED)(clips, mode="loss")
