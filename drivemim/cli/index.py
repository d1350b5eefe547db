"""Build the index of a data set: nuScenes or nuImages tables, rigs, or folders of images."""

import argparse
import time
from pathlib import Path
from typing import Any

from drivemim.arguments import ArgumentParser
from drivemim.data.index.builders.frames import VIDEO_RATE
from drivemim.data.index.builders.rig_folders import record_rig
from drivemim.data.index.frame_index import FrameIndex
from drivemim.data.index.index_building import build_index
from drivemim.data.index.verification import image_problems
from drivemim.process_ends import one_line_errors


def parse_arguments(argv: list[str] | None = None) -> argparse.Namespace:
    """Parse the command line."""
    parser = ArgumentParser(description=__doc__)
    sources = parser.add_subparsers(dest="source", required=True)
    _add_tables(sources)
    _add_frames(sources.add_parser("frames", help="folders of image sequences and videos"))
    _add_rig(sources.add_parser("rig", help="folders of calibrated cameras with ego poses"))
    for source in sources.choices.values():
        source.add_argument(
            "--verify",
            action="store_true",
            help="decode every image of the index, and list those that cannot be read: files that "
            "are missing, truncated or no images, and changed PNG files. A changed byte in a JPEG "
            "file is found only if libjpeg warns of it, which it often does not",
        )
    return parser.parse_args(argv)


def _add_tables(sources: Any) -> None:
    """Add the commands for nuScenes' and nuImages' tables."""
    versions = {
        "nuscenes": ("nuScenes tables of any version", "v1.0-mini, v1.0-trainval, v1.0-test, ..."),
        "nuimages": ("nuImages tables", "v1.0-mini, v1.0-train, v1.0-val or v1.0-test"),
    }
    for source, (what, which) in versions.items():
        tables = sources.add_parser(source, help=what)
        tables.add_argument(
            "--root", type=Path, required=True, help="folder that contains the version folder"
        )
        tables.add_argument("--version", required=True, help=which)
        tables.add_argument("--out", type=Path, help="default: ROOT/drivemim-VERSION.arrow")
        tables.add_argument(
            "--missing-images",
            choices=("error", "drop", "ignore"),
            default="error",
            help="frames whose image is missing: stop with an error (default), leave them out, or "
            "do not check",
        )
        _add_as_written(tables)
        if source == "nuscenes":
            _add_rectified(tables, "camera_distortion")
        if source == "nuimages":
            tables.add_argument(
                "--keyframes-only",
                action="store_true",
                help="leave out the unlabelled images around the annotated ones",
            )


def _add_as_written(parser: argparse.ArgumentParser) -> None:
    """Add the option that accepts unusual rotations of cameras."""
    parser.add_argument(
        "--camera-rotations-as-written",
        action="store_true",
        help="accept cameras' rotations that seem to be in another convention than w, x, y, z "
        "and camera to ego",
    )


def _add_rectified(parser: argparse.ArgumentParser, name: str) -> None:
    """Add the option that ignores a distortion.

    Args:
        parser: parser of the command.
        name: key of the distortion in the data.
    """
    parser.add_argument(
        "--rectified",
        action="store_true",
        help=f"the images are rectified, although {name} is not zero",
    )


def _add_frames(frames: argparse.ArgumentParser) -> None:
    """Add the options for folders of images and videos."""
    frames.add_argument(
        "--root",
        type=Path,
        required=True,
        action="append",
        help="folder of image sequences and videos; repeatable",
    )
    frames.add_argument(
        "--coco",
        type=Path,
        default=[],
        action="append",
        help="COCO file with the boxes of images in the folders; repeatable",
    )
    frames.add_argument(
        "--rate", type=float, default=10.0, help="frames per second of image sequences (default 10)"
    )
    frames.add_argument(
        "--video-rate",
        type=float,
        default=VIDEO_RATE,
        help=f"frames per second to extract from videos (default {VIDEO_RATE:g}); 0 ignores videos",
    )
    frames.add_argument("--out", type=Path, help="default: FIRST_ROOT/drivemim-frames.arrow")


def _add_rig(rig: argparse.ArgumentParser) -> None:
    """Add the options for folders of calibrated cameras."""
    rig.add_argument(
        "--root", type=Path, required=True, action="append", help="folder of scenes; repeatable"
    )
    rig.add_argument("--out", type=Path, help="default: FIRST_ROOT/drivemim-rig.arrow")
    rig.add_argument(
        "--check", action="store_true", help="list every problem of the folders; write no index"
    )
    _add_as_written(rig)
    _add_rectified(rig, "distortion")


def main(argv: list[str] | None = None) -> int:
    """Build the index and print its contents; with --check or --verify, print problems.

    Returns:
        The exit code: 1 if there are problems.
    """
    arguments = parse_arguments(argv)
    started = time.perf_counter()
    options = {
        name: value
        for name, value in vars(arguments).items()
        if name not in ("source", "keyframes_only", "check", "verify")
    }
    if getattr(arguments, "check", False):
        return _check(options)
    if arguments.source == "nuimages":
        options["sweeps"] = not arguments.keyframes_only
    with one_line_errors():
        index = build_index(arguments.source, **options)
    print(
        f"{index.path}: {len(index.scenes)} scenes, {len(index.samples)} samples, "
        f"{len(index.frames)} frames of {len(index.cameras)} cameras, {len(index.boxes)} boxes of "
        f"{len(index.tracks)} objects; {index.path.stat().st_size / 2**20:.1f} MiB "
        f"in {time.perf_counter() - started:.1f} s"
    )
    return _verify(index) if arguments.verify else 0


def _verify(index: FrameIndex) -> int:
    """Print every image that cannot be read or is damaged; return 1 if there is any."""
    count = damaged = 0
    for problem in image_problems(index):
        print(problem.text)
        count += not problem.is_readable
        damaged += problem.is_readable
    remark = f"; {damaged} of them {'is' if damaged == 1 else 'are'} damaged" if damaged else ""
    if count and damaged:
        remark = f"; {damaged} others are damaged"
    print(
        f"{count or 'all'} of {len(index.frames)} images can{'not' if count else ''} be read"
        f"{remark}"
    )
    return 1 if count or damaged else 0


def _check(options: dict[str, Any]) -> int:
    """Print every problem of rig folders; return 1 if there is any."""
    roots = options.pop("root")
    del options["out"]
    with one_line_errors():
        builder, problems = record_rig(roots, **options)
    for problem in problems:
        print(problem)
    frames = sum(len(files) for scene in builder.scenes for files in scene.frames.values())
    boxes = sum(len(scene.boxes) for scene in builder.scenes)
    print(
        f"{len(problems) or 'no'} problem{'' if len(problems) == 1 else 's'} in "
        f"{len(builder.scenes)} scenes with {frames} images and {boxes} boxes"
    )
    return 1 if problems else 0
