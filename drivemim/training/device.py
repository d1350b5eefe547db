"""Set up the device of a model, its data loaders, and the group of several processes."""

from __future__ import annotations

import atexit
import os
import time
from typing import Any

import torch
from torch import distributed
from torch.utils.data import DataLoader

from drivemim.errors import ConfigError

_RELEASE = 0.1
"""Seconds that gloo's threads get to acquire Python's lock before Python ends."""


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


def pin_with_accelerator(loader: DataLoader[Any]) -> None:
    """Let a data loader pin memory only for a GPU or another accelerator.

    Without an accelerator, PyTorch would not pin memory either, but warn in every run. The config
    keeps its ``pin_memory``, because the run may go on at a machine with an accelerator.
    """
    if not torch.accelerator.is_available():
        loader.pin_memory = False


def start_process_group(launcher: str) -> None:
    """Initialise torch.distributed with gloo on a machine without a GPU, until the process ends.

    MMEngine's own initialisation calls ``torch.cuda.set_device`` even without a GPU. It does not
    destroy the group either, so that C++ may abort the process at its end; see
    ``_end_process_group``.

    Raises:
        ConfigError: if the launcher needs GPUs, or has not started this process.
    """
    if launcher == "none" or torch.cuda.is_available() or distributed.is_initialized():
        return
    if launcher != "pytorch":
        raise ConfigError(f"--launcher {launcher} needs GPUs; without one use --launcher pytorch")
    if "RANK" not in os.environ:
        raise ConfigError(
            "--launcher pytorch needs the environment that torchrun sets; start with "
            "python -m torch.distributed.run --nproc-per-node 2 -m drivemim train ..."
        )
    distributed.init_process_group(backend="gloo")
    atexit.register(_end_process_group)


def _end_process_group() -> None:
    """Destroy the group, unless a caller has done so, and let gloo's threads release their tensors.

    A thread of gloo releases the tensors of the last operation a moment after the operation is
    complete. For that, the thread needs Python's lock. If Python is already ending, C++ aborts the
    process, and torchrun reports a failed run.
    """
    if distributed.is_initialized():
        distributed.destroy_process_group()
    time.sleep(_RELEASE)
