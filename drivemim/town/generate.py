"""Generate a whole town as a data set in nuScenes' format."""

from __future__ import annotations

import json
import multiprocessing
import os
import shutil
import signal
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import asdict
from multiprocessing.sharedctypes import Synchronized
from pathlib import Path

import cv2

from drivemim.errors import ConfigError
from drivemim.files import ensure_folder, remove_abandoned
from drivemim.generated import MARKER, is_generated
from drivemim.town.ground import drivable_mask
from drivemim.town.nuscenes_writer import write_scene
from drivemim.town.rig import LIDAR_CHANNEL, make_rig
from drivemim.town.table_rows import Tables, shared_tables, token, write_tables
from drivemim.town.town_config import TownConfig
from drivemim.town.work_zone import NUM_MOVABLE_OBJECTS

Progress = Callable[[int, int], None]
"""Function that takes the number of finished images and the number of all images."""

_images_done: Synchronized[int] | None = None
"""Number of finished images of all worker processes; set in each worker, None elsewhere."""


def generate_town(
    out: str | Path,
    *,
    scenes: int = 10,
    seconds: float = 8.0,
    sweep_rate: float = 4.0,
    image_size: tuple[int, int] = (450, 800),
    seed: int = 0,
    workers: int = 1,
    pedestrians: int = 40,
    vehicles: int = 34,
    depth: bool = False,
    instances: bool = False,
    jpeg_quality: int = 90,
    progress: Progress | None = None,
) -> Path:
    """Generate a town and drives through it as a data set in nuScenes' format.

    The files are written into a folder beside ``out``. Only when this folder is complete does it
    replace ``out``.

    Args:
        out: folder of the data set, ``v1.0-mini`` or, for more than 10 scenes, ``v1.0-trainval``.
        scenes: number of scenes; for this and the other options see ``TownConfig``.
        seconds: length of a scene.
        sweep_rate: images per second of every camera.
        image_size: height and width, pixels.
        seed: the same seed gives byte-identical files for any number of workers.
        workers: number of processes. For more than 1, scripts need ``if __name__ == "__main__":``.
        pedestrians: number of pedestrians in a scene.
        vehicles: number of vehicles and cycles in a scene.
        depth: also write ``depth/CAMERA/*.npz``: ``depth``, float16 (H, W), metres along the
            camera's z axis, ``inf`` for the sky.
        instances: also write ``instances/CAMERA/*.png``: 16-bit instance numbers, 0 for none;
            ``instances.json`` gives their instance tokens by scene.
        jpeg_quality: quality of the images, 1 to 100.
        progress: called several times with the number of finished images and the total.

    Returns:
        ``out``.

    Raises:
        ConfigError: if an option is outside its range.
        FileExistsError: if ``out`` exists and is neither a generated town nor an empty folder.
        OSError: if a parent of ``out`` is a file, or the folder of ``out`` is read-only.
        ChildProcessError: if a worker process was killed.
    """
    if workers < 1:
        raise ConfigError(f"workers={workers}: take 1 or more")
    config = TownConfig(
        scenes=scenes, seconds=seconds, sweep_rate=sweep_rate, image_size=image_size, seed=seed,
        pedestrians=pedestrians, vehicles=vehicles, depth=depth, instances=instances,
        jpeg_quality=jpeg_quality,
    )  # fmt: skip
    return _generate(config, Path(out), workers, progress or (lambda done, total: None))


def _generate(config: TownConfig, out: Path, workers: int, progress: Progress) -> Path:
    """Write everything into a folder beside ``out``, then rename it."""
    _check_replaceable(out)
    ensure_folder(out.parent)
    out.parent.mkdir(parents=True, exist_ok=True)
    remove_abandoned(out, ".unfinished-", "")
    unfinished = _beside(out, "unfinished")
    shutil.rmtree(unfinished, ignore_errors=True)
    unfinished.mkdir()
    try:
        scene_tables = _write_scenes(config, unfinished, workers, progress)
        _write_dataset(config, scene_tables, unfinished)
        _replace(unfinished, out)
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)
    return out


def _beside(out: Path, role: str) -> Path:
    """Return this process's own folder beside ``out``."""
    return out.parent / f".{out.name}.{role}-{os.getpid()}"


def _check_replaceable(out: Path) -> None:
    """Raise if ``out`` exists and is neither a generated town nor an empty folder."""
    if out.is_dir() and (is_generated(out) or not any(out.iterdir())):
        return
    if out.exists() or out.is_symlink():
        raise FileExistsError(
            f"{out} exists and is not a generated town (it has no {MARKER}); "
            "choose another folder or remove it yourself"
        )


def _replace(finished: Path, out: Path) -> None:
    if not out.exists():
        finished.rename(out)
    else:
        old = _beside(out, "old")
        out.rename(old)
        finished.rename(out)
        shutil.rmtree(old)
    remove_abandoned(out, ".old-", "")


def _write_scenes(
    config: TownConfig, folder: Path, workers: int, progress: Progress
) -> list[Tables]:
    """Write every scene and return their tables, in order."""
    total = config.images_per_scene * config.scenes
    if workers == 1:
        return _write_scenes_here(config, folder, total, progress)
    return _write_scenes_in_workers(config, folder, min(workers, config.scenes), progress)


def _write_scenes_in_workers(
    config: TownConfig, folder: Path, workers: int, progress: Progress
) -> list[Tables]:
    # Not "fork": a copy of a process whose threads hold a lock can wait for that lock forever.
    context = multiprocessing.get_context("spawn")
    done: Synchronized[int] = context.Value("q", 0)
    earlier_children = set(multiprocessing.active_children())
    with ProcessPoolExecutor(
        workers, context, initializer=_init_worker, initargs=(done, os.getpid())
    ) as pool:
        try:
            with _without_ctrl_c():
                jobs = [
                    pool.submit(_write_scene_in_worker, config, k, folder)
                    for k in range(config.scenes)
                ]
            waiting = set(jobs)
            while waiting:
                finished, waiting = wait(waiting, timeout=1.0, return_when="FIRST_EXCEPTION")
                progress(done.value, config.images_per_scene * config.scenes)
                if any(job.exception() for job in finished):
                    pool.shutdown(cancel_futures=True)
                    break
            return [job.result() for job in jobs if not job.cancelled()]
        except BrokenProcessPool as error:
            raise ChildProcessError(
                f"one of {workers} worker processes ended early. If it was killed, perhaps because "
                "the memory did not suffice, take fewer --workers; a script needs "
                "'if __name__ == \"__main__\":' for more than 1"
            ) from error
        except KeyboardInterrupt:
            for worker in set(multiprocessing.active_children()) - earlier_children:
                worker.terminate()
            raise


@contextmanager
def _without_ctrl_c() -> Iterator[None]:
    """Block Ctrl-C for processes that start inside, and in this process until the end.

    The new processes inherit the block for good. Without it, Ctrl-C would make each of them print
    a traceback, even while it imports. This process receives a blocked Ctrl-C at the end.
    """
    if not hasattr(signal, "pthread_sigmask"):  # Windows
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _write_scenes_here(
    config: TownConfig, folder: Path, total: int, progress: Progress
) -> list[Tables]:
    threads = cv2.getNumThreads()
    cv2.setNumThreads(1)
    done = 0

    def count_image() -> None:
        nonlocal done
        done += 1
        if done % 20 == 0 or done == total:
            progress(done, total)

    try:
        return [write_scene(config, k, folder, count_image) for k in range(config.scenes)]
    finally:
        cv2.setNumThreads(threads)


def _init_worker(done: Synchronized[int], parent: int) -> None:
    """Set up a worker process that counts finished images in ``done`` and ends with its parent."""
    global _images_done
    _images_done = done
    cv2.setNumThreads(1)
    threading.Thread(target=_end_with, args=(parent,), daemon=True).start()


def _end_with(parent: int) -> None:
    """End this process when its parent process has ended.

    A worker whose parent was killed would otherwise go on writing, then wait for work forever.
    """
    while os.getppid() == parent:
        time.sleep(0.2)
    os._exit(1)


def _write_scene_in_worker(config: TownConfig, number: int, folder: Path) -> Tables:
    def count_image() -> None:
        assert _images_done is not None
        with _images_done.get_lock():
            _images_done.value += 1

    return write_scene(config, number, folder, count_image)


def _write_dataset(config: TownConfig, scene_tables: list[Tables], folder: Path) -> None:
    """Write the files that the scenes share: tables, map, instance numbers and the marker."""
    tables = shared_tables()
    for name in scene_tables[0]:
        tables[name] = [row for scene in scene_tables for row in scene[name]]
    channels = [camera.channel for camera in make_rig(config.image_size)] + [LIDAR_CHANNEL]
    tables["sensor"] = [
        {
            "token": token("sensor", channel),
            "channel": channel,
            "modality": "camera" if channel.startswith("CAM") else "lidar",
        }
        for channel in channels
    ]
    map_token = token("map", "generated-town")
    tables["map"] = [
        {
            "category": "semantic_prior",
            "token": map_token,
            "filename": f"maps/{map_token}.png",
            "log_tokens": [row["token"] for row in tables["log"]],
        }
    ]
    (folder / "maps").mkdir()
    encoded, data = cv2.imencode(".png", drivable_mask())
    assert encoded
    (folder / "maps" / f"{map_token}.png").write_bytes(data.tobytes())
    write_tables(tables, folder / config.version)
    if config.instances:
        numbers = {
            scene["scene"][0]["name"]: _instance_numbers(scene, config) for scene in scene_tables
        }
        (folder / "instances.json").write_text(json.dumps(numbers, indent=1))
    (folder / MARKER).write_text(json.dumps(asdict(config), indent=1))


def _instance_numbers(tables: Tables, config: TownConfig) -> dict[str, int]:
    """Return instance token -> number in the scene's instance maps."""
    name = tables["scene"][0]["name"]
    written = {row["token"] for row in tables["instance"]}
    maximum = config.pedestrians + config.vehicles + NUM_MOVABLE_OBJECTS
    numbers = {token(config.seed, name, "instance", n): n for n in range(1, maximum + 1)}
    return {key: number for key, number in numbers.items() if key in written}
