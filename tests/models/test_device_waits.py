"""Number of times that a training step waits for values of the device."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from mmengine.model import BaseModel
from torch.overrides import TorchFunctionMode

from drivemim.clips import Clips


class HostReads(TorchFunctionMode):
    """Count the calls that make the host wait for the device's values."""

    READS = frozenset(
        {
            torch.Tensor.item, torch.Tensor.tolist, torch.Tensor.__bool__, torch.Tensor.__int__,
            torch.Tensor.__float__, torch.Tensor.numpy, torch.Tensor.cpu, torch.Tensor.nonzero,
            torch.nonzero, torch.equal, torch.masked_select,
        }
    )  # fmt: skip

    def __init__(self) -> None:
        self.count = 0

    def __torch_function__(
        self, func: Any, types: Any, args: Any = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        by_mask = func in (torch.Tensor.__getitem__, torch.Tensor.__setitem__) and any(
            isinstance(each, torch.Tensor) and each.dtype == torch.bool
            for each in (args[1] if isinstance(args[1], tuple) else (args[1],))
        )
        self.count += func in self.READS or by_mask
        return func(*args, **(kwargs or {}))


@pytest.mark.parametrize("decoder", ["clip", "pyramid"])
@pytest.mark.parametrize("scope", ["clip", "frame"])
@pytest.mark.parametrize("case", ["even", "ragged", "some frames invalid"])
def test_a_step_of_a_vit_waits_for_the_device_once(
    build_pretrainer: Callable[..., BaseModel],
    clips: Clips,
    scope: str,
    decoder: str,
    case: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    model = build_pretrainer("vit", decoder=decoder, attention_scope=scope)
    mask = model.mask(clips)
    if case == "ragged":
        mask[0, 0, 0, :2] = False
    if case == "some frames invalid":
        clips.valid_BTN[0, 0, 1] = False
    monkeypatch.setattr(model, "mask", lambda clips, teacher_map_BTNhw=None: mask)
    with HostReads() as reads:
        model(clips, mode="loss")["loss"].backward()
    assert reads.count == 1
