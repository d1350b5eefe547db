"""Benchmark of mask strategies: time per clip, also relative to a ViT-B training step.

The training step is measured with one clip on the same device and counted for each clip of a batch.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Sequence

import numpy as np
import torch
from mmengine.config import Config
from torch import Tensor

from drivemim.arguments import ArgumentParser
from drivemim.clips import Clips
from drivemim.masking import MaskStrategy, clip_generators
from drivemim.masking.from_config import strategies_from_config
from drivemim.registry import MASKS, MODELS
from drivemim.town.rig import make_rig

STRIDE = 16  # side of a patch, pixels
SECONDS_BETWEEN_STEPS = 0.5
METRES_PER_STEP = 4.0  # that the car drives


def synthetic_clips(
    clips: int, steps: int, boxes: int, grid: tuple[int, int], device: torch.device, seed: int = 0
) -> Clips:
    """Make clips of noise images from six cameras of a moving car, with boxes.

    Each track is visible in one camera and in every frame of it.

    Args:
        clips: number of clips.
        steps: number of time steps.
        boxes: number of boxes per frame.
        grid: number of rows and columns of patches.
        device: device of the clips.
        seed: seed of images and boxes.
    """
    H, W = image_size = (grid[0] * STRIDE, grid[1] * STRIDE)
    random = np.random.default_rng(seed)
    rig = make_rig(image_size)
    shape = (clips, steps, len(rig))
    poses, intrinsics = np.tile(np.eye(4), (*shape, 1, 1)), np.tile(np.eye(3), (*shape, 1, 1))
    for step in range(steps):
        ego_3 = np.array([METRES_PER_STEP * step, 0.0, 0.0])
        for number, camera in enumerate(rig):
            position_3, rotation_33 = camera.pose(ego_3, 0.02 * step)
            poses[:, step, number, :3, :3], poses[:, step, number, :3, 3] = rotation_33, position_3
            intrinsics[:, step, number] = camera.intrinsics_33
    middle = random.uniform([0, 0.4 * H], [W, 0.7 * H], (clips, 1, len(rig), boxes, 2))
    half = random.uniform(4, 60, (clips, 1, len(rig), boxes, 1)) * [1.0, 0.8]
    moving = middle + np.arange(steps)[:, None, None, None] * random.uniform(-20, 20, 2)
    corners = np.concatenate([moving - half, moving + half], axis=-1).clip(0, [W, H, W, H])
    tracks = np.arange(clips * len(rig) * boxes).reshape(clips, 1, len(rig), boxes)
    times = (np.arange(steps) * SECONDS_BETWEEN_STEPS * 1e6).astype(np.int64)[None, :, None]
    synthetic = Clips(
        images_BTNHWC=torch.from_numpy(random.integers(0, 256, (*shape, H, W, 3), np.uint8)),
        intrinsics_BTN33=torch.from_numpy(intrinsics).float(),
        camera_to_clip_BTN44=torch.from_numpy(poses).float(),
        timestamps_BTN=torch.from_numpy(np.broadcast_to(times, shape).copy()),
        valid_BTN=torch.ones(shape, dtype=torch.bool),
        boxes_BTNM4=torch.from_numpy(corners).float(),
        labels_BTNM=torch.from_numpy(random.integers(0, 2, (*shape, boxes))),
        tracks_BTNM=torch.from_numpy(np.broadcast_to(tracks, (*shape, boxes)).copy()),
        depths_BTNM=torch.from_numpy(random.uniform(5, 60, (*shape, boxes))).float(),
        points_BTNP3=torch.zeros(*shape, 0, 3),
        seeds_B=torch.arange(clips),
        tokens=tuple(tuple(("frame",) * len(rig) for _ in range(steps)) for _ in range(clips)),
    )
    return synthetic.to(device)


def milliseconds(run: Callable[[], object], device: torch.device, repeats: int) -> float:
    """Measure the median time of a call, after one warm-up call."""
    times = []
    for _ in range(repeats + 1):
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        started = time.perf_counter()
        run()
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        times.append(1e3 * (time.perf_counter() - started))
    return statistics.median(times[1:])


def mask_cost(strategy: MaskStrategy, clips: Clips, grid: tuple[int, int], repeats: int) -> float:
    """Measure a strategy's time per clip, milliseconds."""
    device = clips.valid_BTN.device
    teacher_map_BTNhw: Tensor = torch.rand(*clips.shape, *grid, device=device)
    generators = clip_generators(clips)
    batch = milliseconds(
        lambda: strategy(clips, grid, generators, teacher_map_BTNhw), device, repeats
    )
    return batch / len(clips)


def step_cost(config: str, clips: Clips, repeats: int) -> float:
    """Measure a training step on ``clips`` without optimizer, milliseconds; bf16 on a GPU."""
    device = clips.valid_BTN.device
    settings = Config.fromfile(config).model.to_dict()
    model = MODELS.build({**settings, "masking": {"type": "RandomMask"}, "teacher": None})
    model.to(device).train()

    def step() -> None:
        with torch.autocast(device.type, torch.bfloat16, enabled=device.type == "cuda"):
            loss = model(clips, mode="loss")["loss"]
        loss.backward()

    return milliseconds(step, device, repeats)


def main(argv: Sequence[str] | None = None) -> int:
    """Print one row per strategy."""
    parser = ArgumentParser(prog="benchmark.py masks", description=__doc__)
    parser.add_argument("--config", default="configs/masks/strategies.py")
    parser.add_argument("--model", default="configs/pretrain/vit_base_object_nuscenes.py")
    parser.add_argument("--grids", nargs="+", default=["14x25", "28x50"], metavar="ROWSxCOLUMNS")
    parser.add_argument("--clips", type=int, default=8, help="clips per batch")
    parser.add_argument("--boxes", type=int, default=30, help="boxes per frame")
    parser.add_argument("--ratio", type=float, default=0.75)
    parser.add_argument("--repeats", type=int, default=9)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--only", nargs="+", metavar="NAME", help="measure only these strategies")
    parser.add_argument("--no-step", action="store_true", help="leave the training step out")
    arguments = parser.parse_args(argv)
    device = torch.device(arguments.device)
    config = Config.fromfile(arguments.config).to_dict()
    strategies = {
        name: MASKS.build({**strategy, "mask_ratio": arguments.ratio})
        for name, strategy in strategies_from_config(
            config, arguments.config, arguments.only
        ).items()
    }
    print(f"B={arguments.clips}, T=3, N=6, {arguments.boxes} boxes per frame, on {device}, "
          f"{torch.get_num_threads()} threads; median of {arguments.repeats}")  # fmt: skip
    for text in arguments.grids:
        rows, columns = (int(part) for part in text.split("x"))
        grid = (rows, columns)
        clips = synthetic_clips(arguments.clips, 3, arguments.boxes, grid, device)
        step = float("nan")
        if not arguments.no_step:
            one = synthetic_clips(1, 3, arguments.boxes, grid, device)
            step = step_cost(arguments.model, one, 1 if device.type == "cpu" else 5)
            print(f"\n{text}: a training step of {arguments.model} takes {step:,.0f} ms per clip")
        print(f"\n| strategy, {text} patches | ms per clip | % of a training step |\n|---|---|---|")
        for name, strategy in strategies.items():
            cost = mask_cost(strategy, clips, grid, arguments.repeats)
            print(f"| {name} | {cost:.2f} | {100 * cost / step:.3f} % |", flush=True)
    return 0
