"""Images to run a detector on: an image, a folder, a video, or frames of an index."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Literal

import numpy as np
from mmengine.logging import print_log

from drivemim.array_types import Bools, Image
from drivemim.data.index.builders.folder_frames import image_size
from drivemim.data.index.builders.folders import (
    IMAGES,
    VIDEOS,
    Folder,
    describe_others,
    list_folders,
)
from drivemim.data.index.builders.videos import decode_video
from drivemim.data.index.frame_index import FrameIndex
from drivemim.data.index.images import read_image, resize_image
from drivemim.data.index.index_schema import SmallInts
from drivemim.errors import ConfigError, DataError, check_range, did_you_mean

SourceKind = Literal["image", "folder", "video", "index"]
_INDEX = ".arrow"
_DRAWN = (".jpg", ".jpeg")
_FILMED = (".mp4",)


@dataclass(frozen=True, kw_only=True)
class SourceImage:
    """An image to run a detector on.

    Attributes:
        path: its file, or the file of its video.
        size: height and width, pixels.
        picture: path of the picture with its detections, in the output folder; the images of a
            video have the same.
        pixels: the image, uint8 (H, W, 3), BGR, if it is of a video; else it is read from ``path``.
        frame: its position in its video, from 0; None if it is not of a video.
        time: seconds in its video; None if it is not of a video.
        token: the frame's token, if it is of an index; else empty.
        camera: name of its camera, if it is of an index; else empty.
        scene: name of its scene, if it is of an index; else empty.
    """

    path: Path
    size: tuple[int, int]
    picture: str
    pixels: Image | None = None
    frame: int | None = None
    time: float | None = None
    token: str = ""
    camera: str = ""
    scene: str = ""

    def read(self, size: tuple[int, int] | None = None) -> Image:
        """Return the image in BGR, as pretraining and detection read it; see ``read_image``.

        Args:
            size: height and width of the result, pixels; None for its own.

        Raises:
            FileNotFoundError: if the file does not exist.
            DataError: if it cannot be decoded.
        """
        if self.pixels is not None:
            return resize_image(self.pixels, size or self.size)
        return read_image(self.path, token=self.token, stored=self.size, size=size)


class UnreadableImages:
    """Images that cannot be read: the first one is an error, or all are skipped.

    Args:
        skip: whether they are skipped. Each is reported in one line.
    """

    def __init__(self, *, skip: bool) -> None:
        self._skip = skip
        self.count = 0

    @contextmanager
    def skipped(self) -> Iterator[None]:
        """Skip what is left of the block if it raises ``DataError`` or ``FileNotFoundError``.

        Raises:
            DataError: instead of skipping, if that was not requested.
        """
        try:
            yield
        except (DataError, FileNotFoundError) as error:
            if not self._skip:
                raise DataError(f"{error}; --skip-unreadable leaves such files out") from error
            self.count += 1
            print_log(f"skipped: {error}")

    def read(self, image: SourceImage) -> Image | None:
        """Return an image at its own size; None if it is skipped.

        Raises:
            DataError: if it cannot be read and is not skipped.
        """
        with self.skipped():
            return image.read()
        return None


@dataclass(frozen=True, kw_only=True)
class PredictionSource:
    """An image, a folder of images and videos, a video, or an index.

    Args:
        path: the file or folder. In a folder, images and videos are found like
            ``drivemim index frames`` finds them.
        scenes: names of splits or scenes of an index, see ``select_scenes``; None for all.
        cameras: names of cameras of an index; None for all.
        sweeps: whether to take an index's sweeps, too, and not only its keyframes.
        every: take every n-th image of each folder, video, or camera of a scene.
        max_images: take at most so many images; None for all.

    Raises:
        ConfigError: if an option is out of range, or has no meaning for this kind of source.
        DataError: if the file is none of these.
        FileNotFoundError: if it does not exist.
    """

    path: Path
    scenes: str | Sequence[str] | None = None
    cameras: str | Sequence[str] | None = None
    sweeps: bool = False
    every: int = 1
    max_images: int | None = None

    def __post_init__(self) -> None:
        check_range("--every", self.every, 1)
        if self.max_images is not None:
            check_range("--max-images", self.max_images, 1)
        kind = self.kind
        is_given_by_option = {
            "--scenes": self.scenes is not None,
            "--cameras": self.cameras is not None,
            "--sweeps": self.sweeps,
        }
        for option, is_given in is_given_by_option.items():
            if is_given and kind != "index":
                raise ConfigError(
                    f"{option} selects frames of an index, but {self.path} is "
                    f"{'an' if kind == 'image' else 'a'} {kind}; leave it out"
                )

    @property
    def name(self) -> str:
        """Name of the file, without its suffix, or of the folder."""
        path = self.path.resolve()
        return path.name if self.kind == "folder" else path.stem

    @property
    def kind(self) -> SourceKind:
        """Kind of source, by the path.

        Raises:
            DataError: if it is a file of another kind.
            FileNotFoundError: if it does not exist.
        """
        if self.path.is_dir():
            return "folder"
        if not self.path.exists():
            beside = self.path.parent
            names = [each.name for each in beside.iterdir()] if beside.is_dir() else []
            raise FileNotFoundError(
                f"there is no image, folder, video or index at {self.path}"
                f"{did_you_mean(self.path.name, names)}"
            )
        suffix = self.path.suffix.lower()
        if suffix in IMAGES:
            return "image"
        if suffix in VIDEOS:
            return "video"
        if suffix == _INDEX:
            return "index"
        raise DataError(
            f"{self.path} is not an image ({', '.join(IMAGES)}), a video ({', '.join(VIDEOS)}), an "
            f"index ({_INDEX}) or a folder; convert images and videos to one of these formats"
        )

    def check_out(self, out: Path) -> None:
        """Refuse an output folder whose pictures would replace, or become, images of the source.

        Raises:
            ConfigError: naming both.
        """
        if self.kind == "index":
            return  # Pictures of an index are named unlike its images.
        whole, folder = self.kind == "folder", self.path.resolve()
        folder = folder if whole else folder.parent
        inside = out.resolve().is_relative_to(folder) if whole else out.resolve() == folder
        if inside:
            raise ConfigError(
                f"--out {out} is in the folder of the images: pictures would be mixed with them; "
                "name a folder elsewhere"
            )

    def images(
        self, unreadable: UnreadableImages, check_picture: Callable[[str], None] | None = None
    ) -> Iterator[SourceImage]:
        """Yield the images in their order; videos are decoded meanwhile.

        The headers of all image files are read before the first image is returned, so that an
        image with a wrong header is found at once.

        Args:
            unreadable: what happens to images that cannot be read.
            check_picture: called with the name of every picture before the first image is returned.

        Raises:
            DataError: if an image or video cannot be read and such files are not skipped, or the
                selection of frames is empty.
            FileNotFoundError: if there are no images.
        """
        check = check_picture or (lambda name: None)
        if self.kind == "index":
            return self._of_index(check)
        folders = [Folder(self.path.parent, *self._single())]
        if self.kind == "folder":
            ((_, folders),) = list_folders([self.path], add="predict on")
            if not folders:
                raise FileNotFoundError(
                    f"no images ({', '.join(IMAGES)}) or videos ({', '.join(VIDEOS)}) under "
                    f"{self.path}{describe_others([self.path])}"
                )
        base = self.path if self.kind == "folder" else self.path.parent
        parts: list[list[SourceImage] | Path] = []
        names_of = _PictureNames(base, folders)
        number = 0
        for folder in folders:
            left = None if self.max_images is None else max(self.max_images - number, 0)
            names = folder.images[:: self.every][:left]
            number += len(names)
            paths = [folder.path / name for name in names]
            images = list(_of_files(paths, names_of, unreadable))
            parts.append(images)
            for image in images:
                check(image.picture)
            if number == self.max_images:
                break
            for name in folder.videos:
                parts.append(folder.path / name)
                check(names_of.of(folder.path / name, _FILMED))
        return islice(self._joined(parts, names_of, unreadable), self.max_images)

    def _single(self) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """Return the names of the images and of the videos of a source that is one file."""
        name = (self.path.name,)
        return (name, ()) if self.kind == "image" else ((), name)

    def _joined(
        self,
        parts: Sequence[list[SourceImage] | Path],
        pictures: _PictureNames,
        unreadable: UnreadableImages,
    ) -> Iterator[SourceImage]:
        for part in parts:
            if isinstance(part, list):
                yield from part
                continue
            with unreadable.skipped():
                for video_frame in decode_video(part, every=self.every):
                    yield SourceImage(
                        path=part,
                        size=(int(video_frame.image.shape[0]), int(video_frame.image.shape[1])),
                        picture=pictures.of(part, _FILMED),
                        pixels=video_frame.image,
                        frame=video_frame.number,
                        time=video_frame.time / 1e6,
                    )

    def _of_index(self, check_picture: Callable[[str], None]) -> Iterator[SourceImage]:
        index = FrameIndex.open(self.path)
        frames = index.frames
        chosen = np.isin(frames.scene, index.scene_rows(self.scenes))
        chosen &= np.isin(frames.camera, index.camera_numbers(self.cameras))
        chosen &= frames.keyframe | self.sweeps
        rows = np.flatnonzero(chosen)
        if len(rows) == 0:
            raise DataError(
                f"{self.path} has no frame of scenes={self.scenes}, cameras={self.cameras}"
                f"{'' if self.sweeps else ' that is a keyframe; --sweeps takes the others, too'}"
            )
        rows = rows[_every(frames.scene[rows], frames.camera[rows], self.every)][: self.max_images]
        for row in rows.tolist():
            check_picture(_frame_picture(index, row))
        return (_frame_image(index, row) for row in rows.tolist())


def _frame_picture(index: FrameIndex, row: int) -> str:
    """Return the name of the picture of a frame."""
    return f"{row:06d}_{index.cameras[index.frames.camera[row]]}.jpg"


def _frame_image(index: FrameIndex, row: int) -> SourceImage:
    frames = index.frames
    camera = index.cameras[frames.camera[row]]
    return SourceImage(
        path=index.image_path(row),
        size=(int(frames.height[row]), int(frames.width[row])),
        picture=_frame_picture(index, row),
        token=frames.token[row],
        camera=camera,
        scene=index.scenes.name[int(frames.scene[row])],
    )


def _of_files(
    paths: Sequence[Path], pictures: _PictureNames, unreadable: UnreadableImages
) -> Iterator[SourceImage]:
    for path in paths:
        with unreadable.skipped():
            width, height = image_size(path)
            yield SourceImage(path=path, size=(height, width), picture=pictures.of(path, _DRAWN))


class _PictureNames:
    """Names of pictures, a different one for each file.

    Args:
        base: folder that the names are relative to.
        folders: all files below it.
    """

    def __init__(self, base: Path, folders: Sequence[Folder]) -> None:
        self._base = base
        self._taken: set[str] = set()
        for folder in folders:
            inside = folder.path.relative_to(base)
            self._taken |= {each.as_posix() for each in (inside, *inside.parents)}
            self._taken |= {(inside / each).as_posix() for each in (*folder.images, *folder.videos)}

    def of(self, path: Path, suffixes: tuple[str, ...]) -> str:
        """Return a file's path below the base, with a suffix for its picture if it has another.

        The suffix is repeated if another file or a folder has that name.
        """
        name = path.relative_to(self._base).as_posix()
        if path.suffix.lower() in suffixes:
            return name
        name += suffixes[0]
        while name in self._taken:
            name += suffixes[0]
        return name


def _every(scene_F: SmallInts, camera_F: SmallInts, every: int) -> Bools:
    """Return (F,) True for every n-th frame of each camera of each scene.

    Args:
        scene_F: rows of the scenes; frames of one camera of a scene are consecutive.
        camera_F: numbers of the cameras.
        every: n.
    """
    is_first = np.ones(len(scene_F), np.bool_)
    is_first[1:] = (np.diff(scene_F) != 0) | (np.diff(camera_F) != 0)
    places = np.arange(len(scene_F))
    starts = np.maximum.accumulate(np.where(is_first, places, 0))
    chosen: Bools = (places - starts) % every == 0
    return chosen
