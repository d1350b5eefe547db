"""Mixed precision without a loss scaler, on any device."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from mmengine.optim import OptimWrapper
from torch import nn

from drivemim.registry import OPTIM_WRAPPERS


@OPTIM_WRAPPERS.register_module()
class AutocastOptimWrapper(OptimWrapper):
    """MMEngine's ``OptimWrapper`` with a bfloat16 forward pass.

    bfloat16 has float32's range, so gradients need no scaling. It also works on CPUs, which
    MMEngine's ``AmpOptimWrapper`` refuses. Gradient accumulation and clipping are inherited.
    """

    @contextmanager
    def optim_context(self, model: nn.Module) -> Iterator[None]:
        """Run the forward pass in bfloat16, in the operations that autocast chooses.

        MMEngine's own context skips the synchronisation of gradients between two updates.
        """
        device = next(model.parameters()).device.type
        with super().optim_context(model), torch.autocast(device, dtype=torch.bfloat16):
            yield


def mixed_precision(optim_wrapper: dict[str, Any]) -> dict[str, Any]:
    """Set mixed precision for an optimizer wrapper: bfloat16, or float16 on older GPUs.

    Args:
        optim_wrapper: config of a plain ``OptimWrapper``.

    Returns:
        A copy of the config with another ``type`` and the arguments that this type needs.
    """
    if torch.cuda.is_available() and not torch.cuda.is_bf16_supported(including_emulation=False):
        return {**optim_wrapper, "type": "AmpOptimWrapper", "dtype": "float16"}
    return {**optim_wrapper, "type": "drivemim.AutocastOptimWrapper"}
