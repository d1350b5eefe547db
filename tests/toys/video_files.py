"""Small videos, and changes of their containers."""

import struct
from pathlib import Path

import cv2
import numpy as np


def write_video(
    path: Path, levels, *, rate: float = 10.0, size=(64, 48), codec: str = "MJPG"
) -> Path:
    """A video of plain frames of the grey ``levels``, with a red top left corner."""
    path.parent.mkdir(parents=True, exist_ok=True)
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*codec), rate, size)
    assert writer.isOpened()
    for level in levels:
        frame = np.full((size[1], size[0], 3), level, np.uint8)
        frame[: size[1] // 3, : size[0] // 3] = (0, 0, 255)
        writer.write(frame)
    writer.release()
    return path


def rotate(path: Path) -> None:
    """Have an MP4 say that it is to be shown turned by 90 degrees clockwise."""
    data = bytearray(path.read_bytes())
    start, _ = _boxes(data, b"moov", b"trak", b"tkhd")[-1]
    one = 1 << 16
    struct.pack_into(">9i", data, start + 48, 0, one, 0, -one, 0, 0, 48 * one, 0, 1 << 30)
    path.write_bytes(data)


def set_durations(path: Path, runs) -> None:
    """Give an MP4's frames durations: pairs of how many frames, and ticks of each.

    They are to add up to what they were, which another table repeats.
    """
    data = path.read_bytes()
    parents = _boxes(data, b"moov", b"trak", b"mdia", b"minf", b"stbl", b"stts")
    start, size = parents.pop()
    table = struct.pack(">II", 0, len(runs)) + b"".join(struct.pack(">II", *run) for run in runs)
    table = struct.pack(">I4s", 8 + len(table), b"stts") + table
    changed = bytearray(data[:start] + table + data[start + size :])
    for parent, old in parents:
        struct.pack_into(">I", changed, parent, old + len(table) - size)
    path.write_bytes(changed)


def frame_ticks(path: Path) -> int:
    """Ticks of an MP4's first frame."""
    data = path.read_bytes()
    start, _ = _boxes(data, b"moov", b"trak", b"mdia", b"minf", b"stbl", b"stts")[-1]
    return int(struct.unpack_from(">I", data, start + 20)[0])


def _boxes(data, *names):
    """Return the starts and sizes of an MP4's nested boxes, down to the named one."""
    found, start, end = [], 0, len(data)
    for name in names:
        while data[start + 4 : start + 8] != name:
            start += struct.unpack_from(">I", data, start)[0]
            assert start < end, name
        size = struct.unpack_from(">I", data, start)[0]
        found.append((start, size))
        start, end = start + 8, start + size
    return found
