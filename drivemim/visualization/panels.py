"""Pictures of clips: original, masked and reconstructed images, errors, and boxes.

Every image here is uint8, H x W x 3, in OpenCV's BGR order, like in ``Clips``.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from drivemim.array_types import Bools, Image
from drivemim.clips import CLASSES, Clips
from drivemim.files import write_bytes
from drivemim.models import Reconstruction

AnyFloats = NDArray[np.floating[Any]]
AnyInts = NDArray[np.integer[Any]]
Color = tuple[int, int, int]
Value = TypeVar("Value", bound=np.generic)

PEDESTRIAN, VEHICLE, NO_LABEL = (60, 90, 240), (230, 150, 40), (160, 160, 160)
LABEL_COLORS: tuple[Color, ...] = (PEDESTRIAN, VEHICLE)
ROWS = ("original", "masked", "reconstruction", "error")
PAPER: Color = (255, 255, 255)
INK: Color = (40, 40, 40)
HIDDEN_GREY = 160
MISSING_GREY = 225
SWATCH_SIZE = (12, 88)
"""Height and width of a colour sample in a legend, pixels."""
LINE_HEIGHT = 16
GAP = 4
FONT_SCALE = 0.42
HEADER_HEIGHT = 20
ROW_LABEL_WIDTH = 104


def to_pixels(patches_hw: NDArray[Value], image_size: tuple[int, int]) -> NDArray[Value]:
    """Repeat one value per patch over the pixels of the patch: (h, w) -> (H, W)."""
    h, w = patches_hw.shape
    H, W = image_size
    rows = np.arange(H) * h // H
    columns = np.arange(W) * w // W
    pixels_HW: NDArray[Value] = patches_hw[rows[:, None], columns[None, :]]
    return pixels_HW


def fill_masked(image: Image, mask_hw: Bools, grey: int = HIDDEN_GREY) -> Image:
    """Return a copy of the image with hidden patches painted grey."""
    hidden = image.copy()
    hidden[to_pixels(mask_hw, _size(image))] = grey
    return hidden


def overlay_mask(
    image: Image,
    mask_hw: Bools,
    color: Color = (40, 40, 220),
    opacity: float = 0.55,
) -> Image:
    """Return a copy of the image with hidden patches tinted, so that they remain recognisable.

    Args:
        image: uint8, H x W x 3.
        mask_hw: bool, True = hidden, one value per patch.
        color: colour of the tint.
        opacity: opacity of the tint, 0 none to 1 solid.
    """
    hidden = to_pixels(mask_hw, _size(image)).astype(bool)
    tinted = image.astype(np.float32)
    tinted[hidden] = (1 - opacity) * tinted[hidden] + opacity * np.asarray(color, np.float32)
    return np.rint(tinted).astype(np.uint8)


def draw_error_map(errors_hw: AnyFloats, mask_hw: Bools, worst: float) -> Image:
    """Draw errors of hidden patches: dark = none, bright = ``worst`` or more; visible ones grey."""
    fraction = np.clip(np.nan_to_num(errors_hw) / max(worst, 1e-12), 0, 1)
    heat = cv2.applyColorMap((fraction * 255).astype(np.uint8), cv2.COLORMAP_INFERNO)
    return np.where(mask_hw[..., None], heat, MISSING_GREY).astype(np.uint8)


def track_color(track: int) -> Color:
    """Return a bright colour; a track has the same in every picture, similar ids have others."""
    # The golden ratio spreads the hues of consecutive ids. OpenCV's hues are 0 to 179.
    hue = int(track * 0.618033988749895 % 1.0 * 180)
    pixel = np.array([[[hue, 200, 235]]], np.uint8)
    blue, green, red = cv2.cvtColor(pixel, cv2.COLOR_HSV2BGR)[0, 0]
    return int(blue), int(green), int(red)


def class_color(label: int, classes: Sequence[str] = CLASSES) -> Color:
    """Return the colour of a class: pedestrian red, vehicle blue, others by their position.

    Args:
        label: position in ``classes``; others are grey.
        classes: names of the classes.
    """
    if not 0 <= label < len(classes):
        return NO_LABEL
    name = classes[label]
    return LABEL_COLORS[CLASSES.index(name)] if name in CLASSES else track_color(label)


def outline_box(
    image: Image, box_4: AnyFloats, color: Color, thickness: int = 1
) -> tuple[int, int, int, int]:
    """Outline a box in place.

    Args:
        image: uint8, H x W x 3, drawn into.
        box_4: (x1, y1, x2, y2) pixels; pixel i spans [i, i + 1].
        color: colour of the line.
        thickness: thickness of the line, pixels.

    Returns:
        First column and row of the box, then its last column and row.
    """
    x1, y1, x2, y2 = (round(float(edge)) for edge in box_4)
    # OpenCV expects the indices of the first and of the last pixel.
    x2, y2 = max(x2 - 1, x1), max(y2 - 1, y1)
    cv2.rectangle(image, (x1, y1), (x2, y2), color, thickness)
    return x1, y1, x2, y2


def draw_boxes(
    image: Image,
    boxes_M4: AnyFloats,
    labels_M: AnyInts,
    tracks_M: AnyInts | None = None,
    classes: Sequence[str] = CLASSES,
) -> Image:
    """Return a copy of the image with boxes outlined, inside their edges, in their class's colour.

    Args:
        image: uint8, H x W x 3.
        boxes_M4: (x1, y1, x2, y2) pixels; pixel i spans [i, i + 1].
        labels_M: position in ``classes``. Negative labels are padding and not drawn.
        tracks_M: if given, every box has a small square in its track's colour at its top left.
        classes: names of the classes, which have the colours of ``class_color``.
    """
    drawn = image.copy()
    for i in np.flatnonzero(labels_M >= 0):
        x1, y1, x2, _ = outline_box(drawn, boxes_M4[i], class_color(int(labels_M[i]), classes))
        if tracks_M is not None:
            side = max(4, min(10, (x2 - x1) // 2))
            corner = (x1 + side, y1 + side)
            cv2.rectangle(drawn, (x1, y1), corner, track_color(int(tracks_M[i])), -1)
    return drawn


def clip_panel(
    clips: Clips,
    index: int = 0,
    cameras: Sequence[str] | None = None,
    tile_width: int = 240,
    boxes: bool = True,
) -> Image:
    """Draw one clip of a batch: one row per time, one column per camera, with boxes and tracks."""

    def draw(t: int, n: int) -> Image:
        image: Image = clips.images_BTNHWC[index, t, n].numpy()
        tile = _tile(image, tile_width, valid=True)
        return draw_frame_boxes(tile, clips, (index, t, n)) if boxes else tile

    return frame_table(clips, draw, index=index, cameras=cameras, tile_width=tile_width)


def frame_table(
    clips: Clips,
    draw: Callable[[int, int], Image],
    *,
    index: int = 0,
    cameras: Sequence[str] | None = None,
    tile_width: int = 240,
) -> Image:
    """Arrange one clip of a batch as a table: one row per time step, one column per camera.

    Args:
        clips: on the CPU.
        draw: returns the tile of step t and camera n, ``tile_width`` wide; called for valid frames.
        index: position of the clip in the batch.
        cameras: names of the columns.
        tile_width: pixels.
    """
    T, N = clips.shape[1:]
    H, W = clips.image_size
    missing = _tile(np.zeros((H, W, 3), np.uint8), tile_width, valid=False)
    valid_TN = clips.valid_BTN[index]
    rows = [
        _row(
            _offset(clips, index, t),
            [draw(t, n) if bool(valid_TN[t, n]) else missing for n in range(N)],
        )
        for t in range(T)
    ]
    return _stack([_header(cameras or _numbered(N), tile_width), *rows])


def draw_frame_boxes(tile: Image, clips: Clips, frame: tuple[int, int, int]) -> Image:
    """Return a copy of a frame's tile with the boxes and tracks of the frame (b, t, n)."""
    H, W = clips.image_size
    scale = np.tile([tile.shape[1] / W, tile.shape[0] / H], 2)
    return draw_boxes(
        tile,
        clips.boxes_BTNM4[frame].numpy() * scale,
        clips.labels_BTNM[frame].numpy(),
        clips.tracks_BTNM[frame].numpy(),
        clips.classes,
    )


def reconstruction_panel(
    clips: Clips,
    reconstruction: Reconstruction,
    index: int = 0,
    cameras: Sequence[str] | None = None,
    tile_width: int = 240,
) -> Image:
    """Draw original, masked image, reconstruction and error of every frame of one clip.

    Each camera is a column. Each time step has four rows. The error scale is the same for the whole
    clip: bright is the 95th percentile of the errors of its hidden patches. A legend explains this,
    and has the target's note on its pixels.

    Args:
        clips: on the CPU.
        reconstruction: reconstruction of the same clips, on the CPU.
        index: position of the clip in the batch.
        cameras: names of the columns.
        tile_width: width of a frame in the panel, pixels.
    """
    T, N = clips.shape[1:]
    valid_TN = clips.valid_BTN[index].numpy()
    mask_TNhw = reconstruction.mask_BTNhw[index].numpy()
    errors_TNhw = reconstruction.errors_BTNhw[index].to(torch.float32).numpy()
    has_error = mask_TNhw & valid_TN[..., None, None]
    errors = np.nan_to_num(errors_TNhw[has_error])
    worst = float(np.percentile(errors, 95)) if len(errors) else 1.0
    blocks = [_header(cameras or _numbered(N), tile_width)]
    for t in range(T):
        rows: tuple[list[Image], ...] = tuple([] for _ in ROWS)
        for n in range(N):
            image = clips.images_BTNHWC[index, t, n].numpy()
            filled = reconstruction.images_BTNHWC[index, t, n].numpy()
            heat = draw_error_map(errors_TNhw[t, n], mask_TNhw[t, n], worst)
            frames = (
                image,
                fill_masked(image, mask_TNhw[t, n]),
                filled,
                to_color_pixels(heat, _size(image)),
            )
            for row, frame in zip(rows, frames, strict=True):
                row.append(_tile(frame, tile_width, bool(valid_TN[t, n])))
        when = _offset(clips, index, t)
        blocks += [
            _row(f"{name}\n{when}" if name == ROWS[0] else name, tiles)
            for name, tiles in zip(ROWS, rows, strict=True)
        ]
    legend = reconstruction_legend(reconstruction.pixels_note, worst)
    return _stack([*blocks, draw_legend(legend, blocks[0].shape[1])])


def reconstruction_legend(pixels_note: str, worst: float) -> list[tuple[Image, str]]:
    """Return colour samples of a reconstruction panel, each with its meaning.

    Args:
        pixels_note: the target's explanation of the pixels that it draws; may be empty.
        worst: the error that is drawn in the brightest colour.
    """
    height, width = SWATCH_SIZE
    scale = np.tile(np.linspace(0, 1, width), (height, 1))
    heat = draw_error_map(scale, np.ones_like(scale, dtype=bool), worst=1.0)
    note = f" ({pixels_note})" if pixels_note else ""
    return [
        (_swatch(HIDDEN_GREY), "masked: hidden patch"),
        (_swatch(PAPER), f"reconstruction{note}"),
        (heat, f"error: black is 0, yellow {worst:.2g} (the clip's 95th percentile) or more"),
        (_swatch(MISSING_GREY), "error: visible patch, which is not predicted"),
    ]


def draw_legend(entries: Sequence[tuple[Image, str]], width: int) -> Image:
    """Draw colour samples and their meanings, one below the other; long texts are wrapped.

    Args:
        entries: samples of ``SWATCH_SIZE`` and texts.
        width: width of the legend, pixels.
    """
    blocks = []
    for sample, text in entries:
        lines = _wrap(text, width - ROW_LABEL_WIDTH)
        block = np.full((LINE_HEIGHT * len(lines), width, 3), PAPER, np.uint8)
        block[2 : 2 + SWATCH_SIZE[0], 4 : 4 + SWATCH_SIZE[1]] = sample
        for i, line in enumerate(lines):
            _write(block, line, (ROW_LABEL_WIDTH, 12 + LINE_HEIGHT * i))
        blocks.append(block)
    return _stack(blocks)


def to_color_pixels(patches_hwC: Image, image_size: tuple[int, int]) -> Image:
    """Repeat one colour per patch over the pixels of the patch."""
    return np.stack(
        [to_pixels(channel, image_size) for channel in np.moveaxis(patches_hwC, 2, 0)], 2
    )


def encode_image(image: Image, suffix: str = ".jpg", quality: int = 85) -> bytes:
    """Encode the image as a JPEG or PNG file."""
    done, data = cv2.imencode(suffix, image, [cv2.IMWRITE_JPEG_QUALITY, quality])
    if not done:
        raise ValueError(f"cannot write an image as {suffix}; use .jpg or .png")
    return bytes(data)


def save_image(path: Path, image: Image, quality: int = 85) -> None:
    """Write a JPEG or PNG file atomically; the path's suffix selects the format."""
    write_bytes(path, encode_image(image, path.suffix, quality))


def _size(image: Image) -> tuple[int, int]:
    return int(image.shape[0]), int(image.shape[1])


def _numbered(N: int) -> list[str]:
    return [f"camera {n}" for n in range(N)]


def _offset(clips: Clips, index: int, t: int) -> str:
    """Format the seconds from the clip's first valid frame to the first valid frame of a step."""
    times_TN, valid_TN = clips.timestamps_BTN[index], clips.valid_BTN[index]
    if not bool(valid_TN[t].any()):
        return "missing"
    first = int(times_TN[valid_TN].min())
    return f"{(int(times_TN[t][valid_TN[t]].min()) - first) / 1e6:.2f} s"


def _tile(image: Image, width: int, valid: bool) -> Image:
    """Resize an image to a width; an image that is not ``valid`` becomes grey, with a text."""
    H, W = _size(image)
    height = max(1, round(width * H / W))
    if not valid:
        tile = np.full((height, width, 3), MISSING_GREY, np.uint8)
        _write(tile, "missing", (8, height // 2 + 4))
        return tile
    shrink = width < W
    interpolation = cv2.INTER_AREA if shrink else cv2.INTER_NEAREST
    return np.asarray(cv2.resize(image, (width, height), interpolation=interpolation), np.uint8)


def _write(image: Image, text: str, where: tuple[int, int]) -> None:
    cv2.putText(image, text, where, cv2.FONT_HERSHEY_SIMPLEX, FONT_SCALE, INK, 1, cv2.LINE_AA)


def _swatch(color: Color | int) -> Image:
    return np.full((*SWATCH_SIZE, 3), color, np.uint8)


def _wrap(text: str, width: int) -> list[str]:
    """Break a text between words into lines of at most ``width`` pixels."""
    lines: list[str] = []
    for word in text.split():
        longer = f"{lines[-1]} {word}" if lines else word
        (needed, _), _ = cv2.getTextSize(longer, cv2.FONT_HERSHEY_SIMPLEX, FONT_SCALE, 1)
        if lines and needed <= width:
            lines[-1] = longer
        else:
            lines.append(word)
    return lines


def _header(names: Sequence[str], tile_width: int) -> Image:
    width = ROW_LABEL_WIDTH + len(names) * (tile_width + GAP)
    header = np.full((HEADER_HEIGHT, width, 3), PAPER, np.uint8)
    for n, name in enumerate(names):
        _write(header, name, (ROW_LABEL_WIDTH + n * (tile_width + GAP), HEADER_HEIGHT - 6))
    return header


def _row(label: str, tiles: Sequence[Image]) -> Image:
    height, tile_width = _size(tiles[0])
    row = np.full(
        (height + GAP, ROW_LABEL_WIDTH + len(tiles) * (tile_width + GAP), 3), PAPER, np.uint8
    )
    for i, line in enumerate(label.splitlines()):
        _write(row, line, (4, 14 + 18 * i))
    for n, tile in enumerate(tiles):
        left = ROW_LABEL_WIDTH + n * (tile_width + GAP)
        row[:height, left : left + tile_width] = tile
    return row


def _stack(blocks: Sequence[Image]) -> Image:
    return np.concatenate(list(blocks))
