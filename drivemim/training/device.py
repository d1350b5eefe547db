"""The device that a command runs a model on."""

from __future__ import annotations

import torch

from drivemim.errors import ConfigError


def check_device(device: str) -> None:
    """Refuse a device that this machine or PyTorch does not have.

    Raises:
        ConfigError: with PyTorch's reason.
    """
    try:
        torch.zeros(1, device=device).item()
    except (AssertionError, NotImplementedError, RuntimeError) as error:
        reason = str(error).strip().partition("\n")[0]
        raise ConfigError(
            f"--device {device} cannot be used here ({reason}); use --device cpu"
        ) from error
