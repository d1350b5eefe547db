"""Benchmark of a ViT's window attention: time and memory of one image, with and without windows.

Every row is measured in a separate process, because a process's peak memory never decreases.
"""

from __future__ import annotations

import argparse
import resource
import time
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from multiprocessing import get_context

import torch
from torch import nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.benchmark import Timer
from torch.utils.flop_counter import FlopCounterMode

from drivemim.arguments import ArgumentParser
from drivemim.models.encoders.vit import SIZES
from drivemim.process_ends import one_line_errors
from drivemim.registry import MODELS

_PATCH = 16
"""Side of a ViT's patches by default, pixels."""


def measure(
    arch: str, size: tuple[int, int], window: int | None, fused: bool, backward: bool, device: str
) -> tuple[float, float, float]:
    """Run one image through a ViT; call it in a fresh process.

    Args:
        arch: ``arch`` of ``drivemim.ViT``.
        size: height and width of the image, pixels.
        window: ``window_size``.
        fused: let PyTorch choose the attention kernel; else use the one that keeps the matrix of
            attention weights in memory.
        backward: also run the backward pass.
        device: ``cpu`` or ``cuda``.

    Returns:
        GFLOPs of the forward pass; seconds; peak memory above that of the parameters, GiB. The
        seconds are this process's CPU time, which other programs do not lengthen; with CUDA, they
        are the mean time of five runs after a warm-up.
    """
    torch.set_num_threads(1)
    model = MODELS.build({"type": "drivemim.ViT", "arch": arch, "window_size": window})
    model = model.to(device).train()
    image_1CHW = torch.rand(1, 3, *size, device=device)

    def step() -> None:
        out = model(image_1CHW)[0]
        if backward:
            out.square().mean().backward()

    kernel = nullcontext() if fused else sdpa_kernel(SDPBackend.MATH)
    with kernel, torch.set_grad_enabled(backward):
        seconds, memory = _cost(step, model, device)
    with torch.device("meta"):
        meta_model = MODELS.build({"type": "drivemim.ViT", "arch": arch, "window_size": window})
        with FlopCounterMode(display=False) as counter:
            meta_model(torch.empty(1, 3, *size))
    return counter.get_total_flops() / 1e9, seconds, memory


def _cost(step: Callable[[], None], model: nn.Module, device: str) -> tuple[float, float]:
    """Return the seconds of a model's step, and the peak memory that it adds, GiB."""
    if device == "cuda":
        step()  # the first step also loads libraries and kernels
        model.zero_grad()
        torch.cuda.reset_peak_memory_stats()
    before, start = _peak(device), time.process_time()
    step()
    seconds, memory = time.process_time() - start, _peak(device) - before
    if device == "cuda":
        seconds = Timer("step()", globals={"step": step}).timeit(5).mean
    return seconds, memory


def _peak(device: str) -> float:
    """Return the peak memory of this process so far, GiB."""
    if device == "cuda":
        return torch.cuda.max_memory_allocated() / 2**30
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20


def parse_size(text: str) -> tuple[int, int]:
    """Read ``HEIGHTxWIDTH``.

    Raises:
        ArgumentTypeError: if it is something else, or not a multiple of the ViT's patches.
    """
    parts = text.split("x")
    if len(parts) != 2 or not all(part.isdecimal() for part in parts):
        raise argparse.ArgumentTypeError(f"{text!r} is not HEIGHTxWIDTH, such as 448x800")
    height, width = int(parts[0]), int(parts[1])
    if height % _PATCH or width % _PATCH or not height or not width:
        raise argparse.ArgumentTypeError(
            f"{text}: height and width must be multiples of {_PATCH}, the side of a patch"
        )
    return height, width


def main(argv: Sequence[str] | None = None) -> int:
    """Print one row for each image size, with and without windows."""
    parser = ArgumentParser(prog="benchmark.py windows", description=__doc__)
    parser.add_argument(
        "--arch", choices=SIZES, default="base", help="size of the ViT (default: base)"
    )
    parser.add_argument(
        "--sizes", nargs="+", type=parse_size, default=[(448, 800)], metavar="HEIGHTxWIDTH",
        help="sizes of the image, pixels (default: 448x800)",
    )  # fmt: skip
    parser.add_argument(
        "--window", type=int, default=14, help="side of a window, patches (default: 14)"
    )
    parser.add_argument("--forward-only", action="store_true", help="leave out the backward pass")
    parser.add_argument(
        "--device", choices=("cpu", "cuda"), help="default: cuda if there is a GPU",
        default="cuda" if torch.cuda.is_available() else "cpu",
    )  # fmt: skip
    arguments = parser.parse_args(argv)
    if arguments.device == "cuda" and not torch.cuda.is_available():
        parser.error("--device cuda: PyTorch finds no GPU; use --device cpu")
    passes = "forward" if arguments.forward_only else "forward and backward"
    clock = "CPU time" if arguments.device == "cpu" else "time"
    print(f"ViT {arguments.arch}, one image, {passes}, float32, {arguments.device}, 1 thread\n")
    print(f"| image | attention | fused | GFLOP forward | {clock}, s | GiB above parameters |")
    print("|---|---|---|---|---|---|")
    for height, width in arguments.sizes:
        for fused in (True, False):
            for window in (None, arguments.window):
                setting = (arguments.arch, (height, width), window, fused)
                passed = (*setting, not arguments.forward_only, arguments.device)
                with one_line_errors(), get_context("spawn").Pool(1) as pool:
                    gflops, seconds, memory = pool.apply(measure, passed)
                kind = "global" if window is None else f"windows of {window}"
                numbers = f"{gflops:,.0f} | {seconds:.3g} | {memory:.2f}"
                print(
                    f"| {height}x{width} | {kind} | {'yes' if fused else 'no'} | {numbers} |",
                    flush=True,
                )
    return 0
