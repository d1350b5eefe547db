"""Frames of COCO files, with their boxes."""

from __future__ import annotations

from pathlib import Path

from drivemim.data.index.builders.coco import CocoFile
from drivemim.data.index.builders.coco_fields import CocoImage
from drivemim.data.index.builders.folder_frames import image_size
from drivemim.data.index.builders.sequences import SceneKey, SequenceFrame
from drivemim.errors import DataError
from drivemim.files import RealPaths, path_from, why_unreadable


def frames_of_coco(
    parsed: CocoFile, split: str, image_folder: Path, data_root: Path, real: RealPaths
) -> list[SequenceFrame]:
    """Return the images of a COCO file as frames.

    Args:
        parsed: the file.
        split: name of its split.
        image_folder: folder that the file's paths are relative to.
        data_root: folder that the frames' paths are relative to.
        real: cache of real paths, to find paths relative to ``data_root``.

    Raises:
        FileNotFoundError: if an image cannot be read.
        DataError: if the file lists no images, or an image is damaged or has another size than in
            the file.
    """
    if not parsed.images:
        raise DataError(f"{parsed.path} lists no images; correct it, or leave it out")
    coco_folder = path_from(data_root, parsed.path.parent, real)
    frames = []
    for image in parsed.images:
        file = image_folder / image.file_name
        if problem := why_unreadable(file):
            raise FileNotFoundError(
                f"{file} {problem}, {parsed.path} lists it (id {image.id})"
                f"{_slash_advice(image.file_name, image_folder)}"
            )
        size = image_size(file)
        if size != (image.width, image.height):
            raise DataError(
                f"{parsed.path} says that {image.file_name} (id {image.id}) is {image.width}x"
                f"{image.height} pixels, but {file} is {size[0]}x{size[1]}"
                f"{_swap_note(size, image)}; give width, height and boxes of the stored image"
            )
        path = path_from(data_root, file, real)
        frames.append(
            SequenceFrame(
                scene=SceneKey(split, image.sequence or Path(path).parent.as_posix()),
                namespace=coco_folder if image.sequence else None,
                number=image.frame,
                path=path,
                size=size,
                source=parsed.path,
                boxes=parsed.boxes_of(image.id),
            )
        )
    return frames


def _slash_advice(name: str, image_folder: Path) -> str:
    """Return advice for a ``file_name`` that begins with a slash by mistake; else ``""``."""
    relative = name.lstrip("/")
    if relative == name or not (image_folder / relative).is_file():
        return ""
    return (
        f"; {image_folder / relative} is there: write file_name without the slash at its beginning"
    )


def _swap_note(size: tuple[int, int], image: CocoImage) -> str:
    """Return a note if the COCO file has the stored width as height and vice versa; else ``""``."""
    if size != (image.height, image.width):
        return ""
    return " (width and height are swapped, or the image was rotated after it was annotated)"
