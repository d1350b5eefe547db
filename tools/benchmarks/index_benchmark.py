"""Benchmark of an index of nuScenes trainval's size: building, opening, looking up clips."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.trainval_tables import write_tables
from drivemim.arguments import ArgumentParser
from drivemim.data.clips.clip_rule import ClipRule
from drivemim.data.index.builders.nuscenes import build_nuscenes_index
from drivemim.data.index.frame_index import FrameIndex

STEPS = 3  # time steps of a clip
SPACING = 0.25  # between the time steps of a clip of sweeps, seconds
MIB = 2**20  # bytes


def main(argv: Sequence[str] | None = None) -> int:
    """Measure, print each result next to its target, and return 1 if a target is missed."""
    parser = ArgumentParser(prog="benchmark.py index", description=__doc__)
    parser.add_argument("--scale", type=float, default=1.0, help="fraction of trainval's size")
    parser.add_argument("--lookups", type=int, default=20_000, help="number of clips to look up")
    parser.add_argument(
        "--folder", type=Path, help="folder for the tables (about 3 GB); default: in /tmp"
    )
    arguments = parser.parse_args(argv)
    with tempfile.TemporaryDirectory(prefix="drivemim-index-", dir=arguments.folder) as folder:
        root, path = Path(folder), Path(folder) / "index.arrow"
        started = time.perf_counter()
        counts = write_tables(root, arguments.scale)
        size = sum(file.stat().st_size for file in root.rglob("*.json"))
        print(
            ", ".join(f"{count:,} {name}" for name, count in counts.items())
            + f": {size / MIB:,.0f} MiB of tables written in {time.perf_counter() - started:.0f} s",
            flush=True,
        )
        build = _in_process("build", root, path)
        open_ = _in_process("open", root, path)
        look = _in_process("look_up", root, path, arguments.lookups)
        print(f"index of {path.stat().st_size / MIB:,.0f} MiB")
    rows = [
        ("build", build["seconds"], "s", "<", 300 * arguments.scale),
        ("build, peak memory", build["peak"] / MIB, "MiB", "<", 8 * 1024),
        ("open in a fresh process", open_["seconds"] * 1e3, "ms", "<", 50),
        ("open, memory added", open_["growth"] / MIB, "MiB", "<", 50),
        (f"clips of {STEPS} keyframes x 6 cameras", look["keyframes"], "/s", ">", 5000),
        (f"clips of {STEPS} sweeps x 6 cameras", look["sweeps"], "/s", "", 0),
        ("look-ups, memory added", look["growth"] / MIB, "MiB", "", 0),
    ]
    return _report(rows)


def _report(rows: Sequence[tuple[str, float, str, str, float]]) -> int:
    """Print the rows and return 1 if one misses its target.

    Args:
        rows: name, value, unit, sign, target. The value must be less than the target if the sign
            is "<", and larger if it is ">"; there is no target if the sign is empty.
    """
    print(f"{'':36}{'measured':>16}{'target':>16}")
    missed = 0
    for name, value, unit, sign, target in rows:
        met = {"<": value < target, ">": value > target, "": True}[sign]
        missed += not met
        goal = f"{sign} {target:,.0f} {unit}" if sign else ""
        print(f"{name:36}{value:>12,.1f} {unit:<4}{goal:>15}{'' if met else '   MISSED'}")
    return 1 if missed else 0


def _in_process(task: str, *arguments: object) -> dict[str, Any]:
    """Run one measurement in a separate process, so that no other memory is counted."""
    command = [sys.executable, "-m", "benchmarks.index_benchmark", task, *map(str, arguments)]
    folders = [str(Path(__file__).resolve().parents[1]), os.environ.get("PYTHONPATH", "")]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, folders))}
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, env=environment)
    result: dict[str, Any] = json.loads(done.stdout)
    return result


def _memory(field: str) -> int:
    """Return this process's memory in bytes from Linux: VmRSS (current) or VmHWM (peak)."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(field):
            return int(line.split()[1]) * 1024
    raise RuntimeError(f"/proc/self/status has no {field}")


def measure_build(root: Path, path: Path) -> dict[str, float]:
    """Measure the time in seconds and the peak memory of building."""
    started = time.perf_counter()
    build_nuscenes_index(root, "v1.0-trainval", path, missing_images="ignore")
    return {"seconds": time.perf_counter() - started, "peak": _memory("VmHWM")}


def measure_open(path: Path) -> dict[str, float]:
    """Measure the time in seconds and the memory of opening, without imports."""
    before, started = _memory("VmRSS"), time.perf_counter()
    index = FrameIndex.open(path)
    seconds = time.perf_counter() - started
    growth = _memory("VmRSS") - before
    assert len(index.frames) > 0
    return {"seconds": seconds, "growth": growth}


def look_up(clip_rule: ClipRule, sample: int) -> tuple[np.ndarray[Any, Any], ...]:
    """Read a clip's data except its pixels: frames, poses, intrinsics and its samples' boxes."""
    index = clip_rule.index
    rows_TN = clip_rule.rows(np.array([sample]))[0]
    rows = rows_TN[rows_TN >= 0]
    frames, samples, boxes = index.frames, index.samples, index.boxes
    clip_samples = np.unique(frames.sample[rows])
    first, count = samples.first_box[clip_samples], samples.box_count[clip_samples]
    # Boxes of a sample are contiguous, and so are those of consecutive samples.
    span = slice(int(first[0]), int(first[-1] + count[-1])) if len(clip_samples) else slice(0, 0)
    return (
        rows_TN,
        frames.intrinsics[rows],
        frames.camera_to_ego[rows],
        frames.ego_to_global[rows],
        frames.timestamp[rows],
        boxes.center[span],
        boxes.size[span],
        boxes.rotation[span],
        boxes.track[span],
        boxes.category[span],
        boxes.sample[span],
    )


def measure_look_up(path: Path, lookups: int) -> dict[str, float]:
    """Measure clips per second, at random positions of the index."""
    index = FrameIndex.open(path)
    before = _memory("VmRSS")
    cameras = index.camera_numbers(None)
    result: dict[str, float] = {}
    for name, spacing in (("keyframes", None), ("sweeps", SPACING)):
        clip_rule = ClipRule(index, cameras, STEPS, spacing)
        samples = np.random.default_rng(0).integers(len(index.samples), size=lookups)
        started = time.perf_counter()
        for sample in samples:
            for array in look_up(clip_rule, sample):
                array.copy()  # reads the data; a view into the mapped file would not
        result[name] = lookups / (time.perf_counter() - started)
    result["growth"] = _memory("VmRSS") - before
    return result


def _run_task(task: str, arguments: Sequence[str]) -> None:
    if task == "build":
        result = measure_build(Path(arguments[0]), Path(arguments[1]))
    elif task == "open":
        result = measure_open(Path(arguments[1]))
    else:
        result = measure_look_up(Path(arguments[1]), int(arguments[2]))
    print(json.dumps(result))


if __name__ == "__main__":
    _run_task(sys.argv[1], sys.argv[2:])
