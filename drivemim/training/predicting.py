"""Predictions of a trained detector on images, folders, videos and indices, drawn and as JSON."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from itertools import chain, count, groupby
from pathlib import Path
from typing import Any

import numpy as np
from mmengine.device import get_device
from mmengine.logging import print_log

from drivemim.array_types import Image
from drivemim.data.detection.prediction_source import (
    PredictionSource,
    SourceImage,
    UnreadableImages,
)
from drivemim.data.index.builders.folders import PREDICTIONS_FILE, read_predictions
from drivemim.data.index.builders.videos import frame_rate
from drivemim.errors import ConfigError, DataError, check_range
from drivemim.files import (
    ensure_folder,
    ensure_writable,
    partial_path,
    remove_abandoned,
    write_bytes,
)
from drivemim.training.device import check_device
from drivemim.training.run import check_test_options
from drivemim.training.trained_detector import FoundObjects, TrainedDetector
from drivemim.transfer.run_checkpoints import checkpoint_in
from drivemim.visualization.detections import draw_detections
from drivemim.visualization.panels import save_image
from drivemim.visualization.video_file import video_writer

_UNFINISHED = "pictures"
"""Name from which ``partial_path`` makes that of the folder for results until they are complete."""
_DEFAULT_FRAME_RATE = 25.0
"""Frames per second of a video whose container does not say it."""
_LOG_INTERVAL = 100
"""Number of images after which the progress is printed."""
_QUALITY = 90
"""JPEG quality of the pictures, 0 to 100."""


@dataclass(frozen=True)
class PredictionRun:
    """Finished predictions.

    Attributes:
        out: folder of the pictures and of ``predictions.json``.
        images: entries of ``predictions.json``, one per image: ``path``, ``width``, ``height``,
            ``picture`` and ``detections``, each with ``class``, ``score`` and ``box`` (x1, y1, x2,
            y2; pixels of the image). An image of a video also has ``frame`` and ``time`` (seconds);
            one of an index has ``frame_token``, ``scene`` and ``camera``.
        skipped: number of files that could not be read.
    """

    out: Path
    images: tuple[Mapping[str, Any], ...]
    skipped: int


def predict(
    config: str | Path,
    checkpoint: str | Path,
    source: str | Path,
    *,
    out: str | Path | None = None,
    score_threshold: float = 0.3,
    scenes: str | Sequence[str] | None = None,
    cameras: str | Sequence[str] | None = None,
    sweeps: bool = False,
    every: int = 1,
    max_images: int | None = None,
    skip_unreadable: bool = False,
    device: str | None = None,
    options: Mapping[str, Any] | None = None,
) -> PredictionRun:
    """Run a trained 2-D detector on images, draw its detections and write them as JSON.

    Args:
        config: path or name of the detector's config. Its data need not exist.
        checkpoint: weights of exactly its model, or a run's folder for its newest checkpoint.
        source: an image, a folder of images and videos, a video, or an index.
        out: folder for ``predictions.json`` and the pictures, with one video for each video of the
            source. Earlier predictions in it are replaced; other files are not. By default,
            ``predict-SOURCE`` beside the checkpoint; if that has the predictions of another source,
            ``predict-SOURCE-2``, and so on.
        score_threshold: smallest score of a detection.
        scenes: splits or scenes of an index; None for all.
        cameras: cameras of an index; None for all.
        sweeps: take an index's sweeps, too, and not only its keyframes.
        every: take every n-th image of each folder, video, or camera of a scene.
        max_images: take at most so many images.
        skip_unreadable: skip files that cannot be read, instead of stopping.
        device: where the detector runs; by default a GPU if there is one.
        options: dotted config keys to replace.

    Returns:
        The folder and the detections.

    Raises:
        ConfigError: if the config is not of a 2-D detector, an option is invalid, or the results
            would replace files that are not of an earlier prediction.
        CheckpointError: if the checkpoint is damaged or of another model.
        DataError: if an image or video cannot be read.
        FileNotFoundError: if there is no such source or checkpoint, or no image.

    Example:
        >>> run = drivemim.predict("faster_rcnn_resnet50_nuscenes", "iter_60000.pth", "drive.mp4")
        >>> run.images[0]["detections"][0]
        {'class': 'vehicle', 'score': 0.9312, 'box': [412.5, 230.1, 640.0, 371.8]}
    """
    _check_arguments(score_threshold, options, out)
    selection = PredictionSource(
        path=Path(source), scenes=scenes, cameras=cameras, sweeps=sweeps, every=every,
        max_images=max_images,
    )  # fmt: skip
    check_device(device := device or get_device())
    checkpoint = checkpoint_in(Path(checkpoint))
    folder = _output_folder(out or _default_folder(checkpoint, selection), selection)
    detector = TrainedDetector(config, checkpoint, device=device, options=options)
    inputs = {
        "config": str(config), "checkpoint": str(checkpoint), "source": str(source),
        "absolute_source": os.path.abspath(source),
    }  # fmt: skip
    return _predict(detector, selection, folder, skip_unreadable, score_threshold, inputs)


def _check_arguments(
    score_threshold: float, options: Mapping[str, Any] | None, out: str | Path | None
) -> None:
    """Refuse arguments that are invalid for every source and detector."""
    check_range("--score-threshold", score_threshold, 0, 1)
    check_test_options(options or {})
    if out is not None:
        ensure_folder(out)


def _default_folder(checkpoint: Path, selection: PredictionSource) -> Path:
    """Return a folder beside the checkpoint that has no predictions of another source."""
    first = checkpoint.parent / f"predict-{selection.name}"
    others = (first.with_name(f"{first.name}-{number}") for number in count(2))
    folder = next(each for each in chain([first], others) if _is_free(each, selection.path))
    if folder != first:
        owner = _source_of(first) or "another program"
        print_log(f"{first} has the predictions of {owner}: these go to {folder}")
    return folder


def _is_free(folder: Path, source: Path) -> bool:
    """Return whether a folder has no predictions of another source or program."""
    earlier = _source_of(folder)
    if earlier is None:
        return not _has_results_of_others(folder)
    return os.path.realpath(earlier) == os.path.realpath(source)


def _source_of(folder: Path) -> str | None:
    """Return the source of the predictions in a folder; None if it has none."""
    record = read_predictions(folder) or {}
    source = record.get("absolute_source") or record.get("source")
    return None if source is None else str(source)


def _has_results_of_others(folder: Path) -> bool:
    """Return whether a folder has a ``predictions.json`` that another program wrote."""
    return (folder / PREDICTIONS_FILE).exists() and read_predictions(folder) is None


def _output_folder(out: str | Path, selection: PredictionSource) -> Path:
    """Return the output folder; refuse one that cannot be written to, or would lose other files.

    Raises:
        ConfigError: if results of another program would be replaced, or images of the source.
    """
    folder = Path(out)
    ensure_folder(folder)
    ensure_writable(folder / PREDICTIONS_FILE)
    if _has_results_of_others(folder):
        raise ConfigError(
            f"{folder / PREDICTIONS_FILE} is not of drivemim predict, and would be replaced; name "
            "another --out"
        )
    selection.check_out(folder)
    return folder


def _predict(
    detector: TrainedDetector,
    selection: PredictionSource,
    out: Path,
    skip_unreadable: bool,
    score_threshold: float,
    inputs: Mapping[str, str],
) -> PredictionRun:
    """Write the pictures and ``predictions.json``."""
    unreadable = UnreadableImages(skip=skip_unreadable)
    images = selection.images(unreadable, _check_picture(out))
    with _temporary_folder(out) as folder:
        entries = list(
            _detect(detector, images, folder, unreadable, score_threshold, selection.every)
        )
        if not entries:
            raise DataError(f"{selection.path}: none of its images can be read")
        record = {
            **inputs,
            "score_threshold": score_threshold,
            "classes": detector.classes,
            "skipped": unreadable.count,
        }
        write_bytes(folder / PREDICTIONS_FILE, _predictions_json(record, entries))
        _replace_earlier(out, folder, entries)
    return PredictionRun(out, tuple(entries), unreadable.count)


def _check_picture(out: Path) -> Callable[[str], None]:
    """Return a function that refuses a picture's name if a file of another origin has it.

    Args:
        out: the output folder.
    """
    earlier = _earlier_pictures(out)

    def check(name: str) -> None:
        path = out / name
        if path.is_dir():
            raise ConfigError(f"{path} is a folder, but a picture has its name; name another --out")
        if path not in earlier and os.path.lexists(path):
            raise ConfigError(
                f"{path} is not of an earlier prediction, and would be replaced by a picture; name "
                "another --out"
            )
        for parent in path.relative_to(out).parents[:-1]:
            if (out / parent).exists() and not (out / parent).is_dir():
                raise ConfigError(
                    f"{out / parent} is a file, but a folder of pictures has its name; name "
                    "another --out"
                )

    return check


def _detect(
    detector: TrainedDetector,
    images: Iterable[SourceImage],
    out: Path,
    unreadable: UnreadableImages,
    score_threshold: float,
    every: int,
) -> Iterator[dict[str, Any]]:
    """Detect and draw the objects of each image; yield its entry in ``predictions.json``."""
    none_M4, ignored_M = np.zeros((0, 4)), np.zeros(0, np.bool_)
    count = 0
    for name, group in groupby(images, key=lambda image: image.picture):
        first = next(group)
        with _picture_writer(out / name, first, every) as write:
            for image in chain([first], group):
                pixels, objects = unreadable.read(image), None
                if pixels is not None:
                    with unreadable.skipped():
                        objects = detector.find(image, min_score=score_threshold)
                if pixels is None or objects is None:
                    continue
                write(draw_detections(pixels, *objects, none_M4, ignored_M, detector.classes))
                yield _entry(image, objects, detector.classes)
                count += 1
                if count % _LOG_INTERVAL == 0:
                    print_log(f"{count} images")


@contextmanager
def _picture_writer(
    path: Path, image: SourceImage, every: int
) -> Iterator[Callable[[Image], None]]:
    """Yield a function that writes a drawn image, or appends it to the output video."""
    if image.frame is None:
        yield lambda drawn: save_image(path, drawn, _QUALITY)
        return
    with video_writer(path, (frame_rate(image.path) or _DEFAULT_FRAME_RATE) / every) as append:
        yield append


def _entry(image: SourceImage, found: FoundObjects, classes: Sequence[str]) -> dict[str, Any]:
    """Return an image's entry in ``predictions.json``."""
    entry: dict[str, Any] = {"path": str(image.path)}
    if image.frame is not None:
        entry |= {"frame": image.frame, "time": image.time}
    if image.token:
        entry |= {"frame_token": image.token, "scene": image.scene, "camera": image.camera}
    entry |= {"width": image.size[1], "height": image.size[0], "picture": image.picture}
    entry["detections"] = [
        {
            "class": classes[label],
            "score": round(score, 4),
            "box": [round(edge, 3) for edge in box],
        }
        for box, label, score in zip(*(each.tolist() for each in found), strict=True)
    ]
    return entry


def _predictions_json(record: Mapping[str, Any], entries: Sequence[Mapping[str, Any]]) -> bytes:
    """Return the content of ``predictions.json``, with one line per image."""
    head = json.dumps(record, indent=2).removesuffix("\n}")
    lines = ",\n".join(f"    {json.dumps(entry)}" for entry in entries)
    return f'{head},\n  "images": [\n{lines}\n  ]\n}}\n'.encode()


@contextmanager
def _temporary_folder(out: Path) -> Iterator[Path]:
    """Yield a folder in the output folder for results until they are complete; then remove it.

    After an error, an output folder that did not exist is removed, too.
    """
    new = [each for each in (out, *out.absolute().parents) if not each.exists()]
    remove_abandoned(out / _UNFINISHED)
    folder = partial_path(out / _UNFINISHED)
    folder.mkdir(parents=True)
    try:
        yield folder
    finally:
        shutil.rmtree(folder)
        with suppress(OSError):  # something else was written there
            for each in new:
                each.rmdir()


def _replace_earlier(out: Path, folder: Path, entries: Sequence[Mapping[str, Any]]) -> None:
    """Move new results to the output folder, and remove the pictures of an earlier prediction.

    Args:
        out: the output folder.
        folder: folder of the new results, on the same disk.
        entries: entries of the new ``predictions.json``.
    """
    if (source := _source_of(out)) is not None:
        print_log(f"{out} has the predictions of {source}, which are replaced")
    earlier = _earlier_pictures(out)
    # Files that stay: images of the source, and the new results.
    kept = {Path(entry["path"]).resolve() for entry in entries}
    pictures = dict.fromkeys(entry["picture"] for entry in entries)
    for name in (*pictures, PREDICTIONS_FILE):
        (out / name).parent.mkdir(parents=True, exist_ok=True)
        os.replace(folder / name, out / name)
        kept.add((out / name).resolve())
    for picture in earlier:
        real = picture.resolve()
        if real.is_relative_to(out.resolve()) and real not in kept:
            picture.unlink(missing_ok=True)
            with suppress(OSError):  # the folder has other files
                for parent in picture.relative_to(out).parents[:-1]:
                    (out / parent).rmdir()


def _earlier_pictures(out: Path) -> set[Path]:
    """Return the pictures that the ``predictions.json`` of an earlier prediction names."""
    try:
        entries = (read_predictions(out) or {"images": ()})["images"]
        return {out / str(entry["picture"]) for entry in entries}
    except (KeyError, TypeError):
        return set()
