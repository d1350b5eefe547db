"""Benchmark of a ViT's window attention: time and memory of one image, with and without windows.

Every row is measured in a separate process, because a process's peak memory never decreases.
"""

from __future__ import annotations

import resource
import time
from collections.abc import Sequence
from contextlib import nullcontext
from multiprocessing import get_context

import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from drivemim.arguments import ArgumentParser
from drivemim.registry import MODELS


def measure(
    arch: str, size: tuple[int, int], window: int | None, fused: bool, backward: bool, device: str
) -> tuple[float, float, float]:
    """Run one image through a ViT; call it in a fresh process.

    Args:
        arch: ``arch`` of ``drivemim.ViT``.
        size: height and width of the image, pixels.
        window: ``window_size``.
        fused: let PyTorch choose the attention kernel; else use the one that stores all weights.
        backward: also run the backward pass.
        device: ``cpu`` or ``cuda``.

    Returns:
        GFLOPs of the forward pass; seconds of this process's CPU time, which other programs do not
        lengthen; peak memory above that of the weights, GiB.
    """
    torch.set_num_threads(1)
    model = MODELS.build({"type": "drivemim.ViT", "arch": arch, "window_size": window})
    model = model.to(device).train()
    image_1CHW = torch.rand(1, 3, *size, device=device)
    kernel = nullcontext() if fused else sdpa_kernel(SDPBackend.MATH)
    with kernel, torch.set_grad_enabled(backward):
        before, start = _peak(device), time.process_time()
        out = model(image_1CHW)[0]
        if backward:
            out.square().mean().backward()
        if device == "cuda":
            torch.cuda.synchronize()
        seconds, memory = time.process_time() - start, _peak(device) - before
    with torch.device("meta"):
        same = MODELS.build({"type": "drivemim.ViT", "arch": arch, "window_size": window})
        with FlopCounterMode(display=False) as counter:
            same(torch.empty(1, 3, *size))
    return counter.get_total_flops() / 1e9, seconds, memory


def _peak(device: str) -> float:
    """Return the peak memory of this process so far, GiB."""
    if device == "cuda":
        return torch.cuda.max_memory_allocated() / 2**30
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20


def main(argv: Sequence[str] | None = None) -> int:
    """Print one row for each image size, with and without windows."""
    parser = ArgumentParser(prog="benchmark.py windows", description=__doc__)
    parser.add_argument("--arch", default="base")
    parser.add_argument("--sizes", nargs="+", default=["448x800"], metavar="HEIGHTxWIDTH")
    parser.add_argument("--window", type=int, default=14, help="patches")
    parser.add_argument("--forward-only", action="store_true")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    arguments = parser.parse_args(argv)
    passes = "forward" if arguments.forward_only else "forward and backward"
    print(f"ViT {arguments.arch}, one image, {passes}, float32, {arguments.device}, 1 thread\n")
    print("| image | attention | fused | GFLOP forward | seconds | GiB above weights |")
    print("|---|---|---|---|---|---|")
    for text in arguments.sizes:
        height, width = (int(part) for part in text.split("x"))
        for fused in (True, False):
            for window in (None, arguments.window):
                what = (arguments.arch, (height, width), window, fused)
                with get_context("spawn").Pool(1) as pool:
                    found = pool.apply(
                        measure, (*what, not arguments.forward_only, arguments.device)
                    )
                kind = "everything" if window is None else f"windows of {window}"
                numbers = f"{found[0]:,.0f} | {found[1]:.1f} | {found[2]:.2f}"
                print(f"| {text} | {kind} | {'yes' if fused else 'no'} | {numbers} |", flush=True)
    return 0
