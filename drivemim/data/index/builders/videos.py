"""Extract the frames of videos to JPEG files, for training, or decode them one after the other."""

from __future__ import annotations

import math
import os
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import cv2
import msgspec
import numpy as np
from mmengine.logging import print_log

from drivemim.array_types import Image
from drivemim.data.index.builders.folders import EXTRACTED
from drivemim.data.index.source_files import Fingerprint, fingerprints, is_unchanged
from drivemim.errors import DataError
from drivemim.files import partial_path, remove_abandoned, write_bytes

QUALITY = 90
"""Quality of the JPEG files; the video's own compression has already lost more."""
_RECORD = "video.json"
"""Name of the file with the ``_Record`` of a folder of extracted frames."""
_NOTE = b"Frames of videos, extracted by drivemim index, which makes them again.\n"
"""Content of the marker file ``EXTRACTED``."""
_TOLERANCE = 1000
"""Microseconds that a frame may be early: some containers store whole milliseconds."""
_CUT = 0.95
"""Smallest fraction of the frames that a container announces which must be there. A video with
fewer is reported as possibly cut."""
_MIB = 2**20


class _Record(msgspec.Struct, frozen=True):
    """Contents of a folder of extracted frames; written last, so that it proves completeness.

    Attributes:
        video: fingerprint of the video, by its name without the folder.
        rate: requested frames per second.
        quality: quality of the JPEG files.
        times: microseconds of each frame in the video.
        sizes: bytes of each file.
    """

    video: Fingerprint
    rate: float
    quality: int
    times: tuple[int, ...]
    sizes: tuple[int, ...]


@dataclass(frozen=True)
class VideoFrames:
    """Extracted frames of one video.

    Attributes:
        video: the file.
        paths: paths of its frames.
        times: microseconds of each frame, by the video's own clock.
    """

    video: Path
    paths: tuple[Path, ...]
    times: tuple[int, ...]


@dataclass(frozen=True)
class DecodedFrame:
    """A frame of a video in memory.

    Attributes:
        number: its position in the video, from 0.
        time: microseconds, by the video's own clock.
        image: uint8 (H, W, 3), BGR, upright.
    """

    number: int
    time: int
    image: Image


def frames_folder(out: Path) -> Path:
    """Return the folder for the frames of an index's videos, which is beside the index."""
    return out.with_name(f"{out.stem}-videos")


def extract_videos(
    videos: Sequence[Path], base: Path, store: Path, rate: float
) -> list[VideoFrames]:
    """Extract frames of videos, each into its own folder below ``store``.

    Each folder is written under a temporary name and then renamed. Folders of an earlier call are
    reused if the video, the rate and the frames are unchanged. After an interruption, the next call
    therefore continues with the first video that was not complete.

    Args:
        videos: the files, below ``base``.
        base: folder that determines the folders' names: the frames of ``base/a/b.mp4`` go to
            ``store/a/b.mp4``.
        store: folder of all frames.
        rate: frames per second; of a video that has fewer, every frame is extracted.

    Raises:
        DataError: if a video cannot be read or has no frames. The message names it.
        OSError: if a frame cannot be written.
    """
    extracted: list[VideoFrames] = []
    total_size = written = reused = 0
    for video in videos:
        folder = store / video.relative_to(base)
        record = _read_record(folder, video, rate)
        if record is None:
            write_bytes(store / EXTRACTED, _NOTE)
            record = _extract_beside(video, folder, rate)
            size = sum(record.sizes) / _MIB
            print_log(f"{video}: extracted {len(record.times)} frames, {size:.1f} MiB")
            written += 1
        else:
            reused += 1
        paths = tuple(folder / _name(number) for number in range(len(record.times)))
        extracted.append(VideoFrames(video, paths, record.times))
        total_size += sum(record.sizes)
    num_frames = sum(len(frames.paths) for frames in extracted)
    print_log(
        f"{num_frames} frames of {len(videos)} videos at {rate:g} a second take "
        f"{total_size / _MIB:.1f} MiB in {store} ({written} videos extracted, {reused} there "
        "before)"
    )
    return extracted


def _name(number: int) -> str:
    """Return the name of the JPEG file of an extracted frame."""
    return f"{number:06d}.jpg"


def _read_record(folder: Path, video: Path, rate: float) -> _Record | None:
    """Return the record of an earlier extraction; None unless all of it can be reused.

    It can be reused if the video and the settings are unchanged and all files have their sizes.
    """
    try:
        record = msgspec.json.decode((folder / _RECORD).read_bytes(), type=_Record)
    except (FileNotFoundError, NotADirectoryError, ValueError):
        return None
    if (record.rate, record.quality) != (rate, QUALITY) or not is_unchanged(video, record.video):
        return None
    size_of = {entry.name: entry.stat().st_size for entry in os.scandir(folder)}
    sizes = tuple(size_of.get(_name(number)) for number in range(len(record.times)))
    return record if sizes == record.sizes else None


def _extract_beside(video: Path, folder: Path, rate: float) -> _Record:
    """Extract frames into a temporary folder beside ``folder``, then replace ``folder`` by it."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    remove_abandoned(folder)
    partial = partial_path(folder)
    partial.mkdir()
    try:
        record = _extract(video, partial, rate)
        write_bytes(partial / _RECORD, msgspec.json.encode(record))
        if folder.exists():
            shutil.rmtree(folder)
        partial.rename(folder)
    finally:
        shutil.rmtree(partial, ignore_errors=True)  # after success it no longer exists
    return record


def _extract(video: Path, folder: Path, rate: float) -> _Record:
    """Extract frames into a folder, and return their record.

    The first frame is extracted. After it, frame k of the requested rate is due k / ``rate``
    seconds later; the first frame of the video at or after this time is extracted.
    """
    (fingerprint,) = fingerprints(video.parent, [video])
    times: list[int] = []
    sizes: list[int] = []
    last_due = 0
    with _opened(video) as capture:
        for number, time in _grab_frames(video, capture):
            due = math.floor((time - (times[0] if times else time) + _TOLERANCE) * rate / 1e6)
            if times and due <= last_due:
                continue
            last_due = due
            sizes.append(_write_frame(video, capture, number, folder / _name(len(times))))
            times.append(time)
    return _Record(fingerprint, rate, QUALITY, tuple(times), tuple(sizes))


def decode_video(video: Path, *, every: int = 1) -> Iterator[DecodedFrame]:
    """Decode the frames of a video one after the other; nothing is written.

    Args:
        video: the file.
        every: interval of the decoded frames: 3 decodes the frames 0, 3, 6, ...

    Yields:
        the decoded frames.

    Raises:
        DataError: if the video cannot be read or has no frames.
    """
    with _opened(video) as capture:
        for number, time in _grab_frames(video, capture):
            if number % every == 0:
                yield DecodedFrame(number, time, _retrieve(video, capture, number))


def frame_rate(video: Path) -> float | None:
    """Return the frames per second that a video's container announces; None if it does not say.

    Raises:
        DataError: if the video cannot be read.
    """
    with _opened(video) as capture:
        rate = float(capture.get(cv2.CAP_PROP_FPS))
    return rate if 0 < rate < math.inf else None


def _grab_frames(video: Path, capture: cv2.VideoCapture) -> Iterator[tuple[int, int]]:
    """Grab all frames of a video without decoding them, and report missing ones at the end.

    Args:
        video: the file, for messages.
        capture: the opened video.

    Yields:
        number and time (microseconds) of the grabbed frame, which ``_retrieve`` can then decode.

    Raises:
        DataError: if the video has no frames.
    """
    clock = _Clock(video, capture)
    grabbed = 0
    while capture.grab():
        yield grabbed, clock.read()
        grabbed += 1
    if not grabbed:
        raise DataError(f"video {video} has no frames that can be decoded; remove or replace it")
    announced = capture.get(cv2.CAP_PROP_FRAME_COUNT)
    if grabbed < _CUT * announced - 1:
        print_log(f"{video}: ends after {grabbed} of {announced:.0f} frames; it may have been cut")
    clock.report()


@contextmanager
def _opened(video: Path) -> Iterator[cv2.VideoCapture]:
    """Open a video for the ``with`` block; refuse one that cannot be read."""
    # OpenCV's other backends treat digits in a name as the numbers of an image sequence.
    capture = cv2.VideoCapture(str(video), cv2.CAP_FFMPEG)
    try:
        if not capture.isOpened():
            raise DataError(
                f"video {video} ({video.stat().st_size} bytes) cannot be read; copy or unpack it "
                "again, or remove it"
            )
        # A phone stores its frames as its sensor reads them, with a note by how much to rotate
        # them. This option rotates them.
        capture.set(cv2.CAP_PROP_ORIENTATION_AUTO, 1)
        yield capture
    finally:
        capture.release()


def _write_frame(video: Path, capture: cv2.VideoCapture, number: int, path: Path) -> int:
    """Write the frame that was just grabbed, and return the file's size in bytes."""
    image = _retrieve(video, capture, number)
    encoded = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, QUALITY])[1]
    return path.write_bytes(encoded.tobytes())


def _retrieve(video: Path, capture: cv2.VideoCapture, number: int) -> Image:
    """Decode the frame that was just grabbed."""
    is_decoded, image = capture.retrieve()
    if not is_decoded:
        raise DataError(f"frame {number} of video {video} cannot be decoded; replace the video")
    return np.asarray(image, np.uint8)


class _Clock:
    """Times of a video's frames, from its container."""

    def __init__(self, video: Path, capture: cv2.VideoCapture) -> None:
        self._video = video
        self._capture = capture
        self._rate = capture.get(cv2.CAP_PROP_FPS)
        self._last: int | None = None
        self._guessed = 0

    def read(self) -> int:
        """Return the time of the frame that was just grabbed, microseconds.

        Raises:
            DataError: if it is not after the previous frame's, and the video has no frame rate to
                replace it.
        """
        time = round(self._capture.get(cv2.CAP_PROP_POS_MSEC) * 1000)
        if self._last is not None and time <= self._last:
            if not 0 < self._rate < math.inf:
                raise DataError(
                    f"video {self._video} has frames without times; write it again, for example "
                    "with ffmpeg -i OLD -r RATE NEW"
                )
            time = self._last + round(1e6 / self._rate)
            self._guessed += 1
        self._last = time
        return time

    def report(self) -> None:
        """Print how many times were replaced: those that were not after the previous frame's."""
        if self._guessed:
            print_log(
                f"{self._video}: {self._guessed} frames have no time after the frame before them; "
                f"{self._rate:g} frames per second are assumed there"
            )
