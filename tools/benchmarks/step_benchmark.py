"""Benchmark of a pretraining step: FLOPs by part, time and memory, relative to the first config.

Images are noise. With ``--index``, the config's data set loads real ones too, in the same process,
and the table gives the fraction of time that loading takes. FLOPs are those of the forward pass (a
multiplication and an addition are two). A training step takes three times as many, except for the
masking teacher, which may need only a forward pass.
"""

from __future__ import annotations

import copy
import resource
import statistics
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import torch
from mmengine.config import Config
from mmengine.registry import init_default_scope
from mmengine.runner import Runner
from torch import nn
from torch.utils.flop_counter import FlopCounterMode, sdpa_flop_count

from benchmarks.mask_benchmark import milliseconds, synthetic_clips
from benchmarks.pretraining_config import load_pretraining_config
from drivemim.arguments import ArgumentParser
from drivemim.clips import Clips
from drivemim.compat import cpu_attention
from drivemim.config.loading import config_errors, dicts_in
from drivemim.models import FeatureTarget
from drivemim.process_ends import one_line_errors
from drivemim.registry import MODELS
from drivemim.transfer.export_metadata import training_image_size

PARTS = {
    "encoder": ("encoder",),
    "decoder": ("decoder",),
    "heads": ("head", "auxiliary_heads"),
    "teachers": ("teacher", "target", "auxiliary"),
}
"""Modules of the pretrainer by column; a target may have a teacher of its own."""


@dataclass(frozen=True, kw_only=True)
class StepCost:
    """Cost of a step per frame.

    Attributes:
        gflops: GFLOPs of the forward pass, by ``PARTS`` and ``total``.
        parameters: millions of parameters, by ``PARTS``.
        milliseconds: time of forward and backward pass and optimizer; NaN if it was not timed.
        loading: milliseconds to load and augment a frame in one process; NaN without data.
    """

    gflops: dict[str, float]
    parameters: dict[str, float]
    milliseconds: float
    loading: float = float("nan")

    @property
    def frames_per_second(self) -> float:
        """Frames per second of one process that loads its data itself; NaN without data."""
        return 1000 / (self.milliseconds + self.loading)


def single_frames(frames: int, image_size: tuple[int, int], device: torch.device) -> Clips:
    """Make clips of one frame each: (frames, 1, 1)."""
    H, W = image_size
    clips = synthetic_clips(frames, 1, 4, (-(-H // 16), -(-W // 16)), device)
    tensors = {
        name: value[:, :, :1] if name != "seeds_B" else value
        for name, value in vars(clips).items()
        if isinstance(value, torch.Tensor)
    }
    tensors["images_BTNHWC"] = tensors["images_BTNHWC"][:, :, :, :H, :W]
    tokens = tuple((("frame",),) for _ in range(frames))
    return replace(clips, **tensors, tokens=tokens, unknown=clips.unknown, classes=clips.classes)


def step_cost(
    config: str, *, frames: int, repeats: int, device: torch.device, index: str | None = None
) -> StepCost:
    """Measure the model of a pretraining config on single frames of its image size.

    Args:
        config: path or name of the config.
        frames: batch size.
        repeats: number of timed steps; 0 counts FLOPs only.
        device: device to run on; mixed precision on a GPU.
        index: index of frames to load, to measure the loader as well.

    Raises:
        ConfigError: if the config is wrong, or not a pretrainer's.
    """
    cfg = load_pretraining_config(config)
    init_default_scope(cfg.default_scope)
    with config_errors():
        model = MODELS.build(cfg.model).to(device).train()
    for module in model.modules():
        if isinstance(module, FeatureTarget):
            module.has_weights = True  # Which weights it has does not change its speed.
    clips = single_frames(frames, training_image_size(cfg), device)
    counter = FlopCounterMode(display=False, custom_mapping={cpu_attention(): _attention_flops})
    with torch.no_grad(), counter:
        model(clips, mode="loss")
    counts = {
        name: sum(by_operator.values()) for name, by_operator in counter.get_flop_counts().items()
    }
    flops = {
        part: sum(_flops_of(f"{type(model).__name__}.{name}", counts) for name in names)
        for part, names in PARTS.items()
        if part != "encoder"
    }
    # The pretrainer calls methods of the encoder, not the module, so the counter does not list it:
    # the encoder has the FLOPs that the other parts do not have.
    flops["encoder"] = counts["Global"] - sum(flops.values())
    flops["total"] = counts["Global"]
    return StepCost(
        gflops={name: count / frames / 1e9 for name, count in flops.items()},
        parameters={
            part: sum(_millions(getattr(model, name)) for name in names)
            for part, names in PARTS.items()
        },
        milliseconds=_time(model, clips, repeats) / frames if repeats else float("nan"),
        loading=_time_loading(cfg, index, repeats) if index and repeats else float("nan"),
    )


def _flops_of(name: str, counts: Mapping[str, int]) -> int:
    """Return the FLOPs of a module; if it was not called itself, those of its outermost parts."""
    if name in counts:
        return counts[name]
    parts = [part for part in counts if part.startswith(f"{name}.")]
    outermost = [part for part in parts if not any(part.startswith(f"{other}.") for other in parts)]
    return sum(counts[part] for part in outermost)


def _attention_flops(
    query_shape: torch.Size,
    key_shape: torch.Size,
    value_shape: torch.Size,
    *_: object,
    **__: object,
) -> int:
    """Count the FLOPs of the CPU's attention, which PyTorch's counter does not know."""
    flops: int = sdpa_flop_count(  # type: ignore[no-untyped-call]  # PyTorch leaves it untyped
        query_shape, key_shape, value_shape
    )
    return flops


def _millions(module: nn.Module | None) -> float:
    return (
        0.0 if module is None else sum(parameter.numel() for parameter in module.parameters()) / 1e6
    )


def _time(model: nn.Module, clips: Clips, repeats: int) -> float:
    device = clips.valid_BTN.device
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-5, fused=True)

    def step() -> None:
        with torch.autocast(device.type, torch.bfloat16, enabled=device.type == "cuda"):
            loss = model(clips, mode="loss")["loss"]
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()

    return milliseconds(step, device, repeats)


def _time_loading(cfg: Config, index: str, repeats: int) -> float:
    """Return the median time to load a batch of the config's data, in milliseconds per frame."""
    loader = copy.deepcopy(cfg.train_dataloader)
    loader.update(num_workers=0, persistent_workers=False)
    for settings in dicts_in(loader.dataset):
        if "index" in settings:
            settings["index"] = index  # type: ignore[index]  # a ConfigDict
    batches = iter(Runner.build_dataloader(loader, seed=0))
    times = []
    for _ in range(repeats + 1):  # the first repeat also opens the index, and is not counted
        begin = time.perf_counter()
        batch = next(batches)
        clips = batch["clips"] if isinstance(batch, dict) else batch
        times.append((time.perf_counter() - begin) / clips.valid_BTN.numel())
    median: float = statistics.median(times[1:])
    return 1000 * median


def main(argv: Sequence[str] | None = None) -> int:
    """Print one row per config."""
    parser = ArgumentParser(prog="benchmark.py step", description=__doc__)
    parser.add_argument("configs", nargs="+", help="pretraining configs; the first is the baseline")
    parser.add_argument("--frames", type=int, default=4, help="frames per batch")
    parser.add_argument("--repeats", type=int, default=9, help="timed steps; 0 counts FLOPs only")
    parser.add_argument("--index", help="index of frames to load with the config's data set")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    arguments = parser.parse_args(argv)
    device = torch.device(arguments.device)
    with one_line_errors():
        for config in arguments.configs:
            load_pretraining_config(config)
    print(f"{arguments.frames} frames per batch, on {device}, {torch.get_num_threads()} threads; "
          f"median of {arguments.repeats}")  # fmt: skip
    columns = ["config", "GFLOP: encoder", "decoder", "heads", "teachers", "total", "to the first"]
    columns += ["ms per frame", "to the first", "loader: ms per frame", "loader, %", "frames/s"]
    print(f"| {' | '.join([*columns, 'M parameters'])} |\n{'|---' * (len(columns) + 1)}|")
    first: StepCost | None = None
    for config in arguments.configs:
        with one_line_errors():
            cost = step_cost(
                config,
                frames=arguments.frames,
                repeats=arguments.repeats,
                device=device,
                index=arguments.index,
            )
        first = first or cost
        row = [config, *(f"{cost.gflops[part]:.2f}" for part in (*PARTS, "total"))]
        row += [f"{cost.gflops['total'] / first.gflops['total']:.2f}"]
        row += [f"{cost.milliseconds:.1f}", f"{cost.milliseconds / first.milliseconds:.2f}"]
        fraction = cost.loading / (cost.loading + cost.milliseconds)
        row += [f"{cost.loading:.1f}", f"{100 * fraction:.0f} %", f"{cost.frames_per_second:.1f}"]
        print(f"| {' | '.join([*row, f'{sum(cost.parameters.values()):.1f}'])} |", flush=True)
    memory = (
        torch.cuda.max_memory_allocated(device) / 2**30
        if device.type == "cuda"
        else resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    )
    print(f"peak memory of this process: {memory:.1f} GiB")
    return 0
