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
_IMAGE_OUTPUT = (".jpg", ".jpeg")
"""Suffixes that a picture of an image may have; the first is added to names with others."""
_VIDEO_OUTPUT = (".mp4",)
"""Suffixes that the pictures of a video may have; the first is added to names with others."""


@dataclass(frozen=True, kw_only=True)
class SourceImage:
    """An image to run a detector on.

    Attributes:
        path: file of the image, or of the video that it is from.
        size: height and width, pixels.
        picture: path, relative to the output folder, of the picture that shows the detections. All
            images of a video have the same path: that of a video.
        pixels: uint8 (H, W, 3), BGR, for an image from a video; None for one that is read from
            ``path``.
        frame: position in the video, from 0; None for an image that is not from a video.
        time: seconds since the start of the video; None for an image that is not from a video.
        token: token of a frame of an index; else empty.
        camera: name of the camera of a frame of an index; else empty.
        scene: name of the scene of a frame of an index; else empty.
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
            size: height and width of the result, pixels; None for those of the image.

        Raises:
            FileNotFoundError: if the file does not exist.
            DataError: if the file cannot be read as an image; see ``read_image``.
        """
        if self.pixels is not None:
            return resize_image(self.pixels, size or self.size)
        return read_image(self.path, token=self.token, stored=self.size, size=size)


class UnreadableImages:
    """Images that cannot be read: the first one is an error, or all are skipped.

    Args:
        skip: whether unreadable images are skipped. Each is reported in one line.

    Attributes:
        count: number of skipped images.
    """

    def __init__(self, *, skip: bool) -> None:
        self._skip = skip
        self.count = 0

    @contextmanager
    def skipped(self) -> Iterator[None]:
        """Skip the rest of a ``with`` block if it raises ``DataError`` or ``FileNotFoundError``.

        Raises:
            DataError: in place of either, if unreadable images are not skipped.
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
            DataError: if the image cannot be read and is not skipped.
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
        sweeps: whether to use an index's sweeps, too, and not only its keyframes.
        every: n to use every n-th image of each folder, of each video, or of each camera in each
            scene of an index.
        max_images: maximum number of images; None for all.

    Raises:
        ConfigError: if an option is out of range, or has no meaning for this kind of source.
        DataError: if the file is not an image, a video or an index.
        FileNotFoundError: if ``path`` does not exist.
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
            DataError: if the file is not an image, a video or an index.
            FileNotFoundError: if the path does not exist.
        """
        if self.path.is_dir():
            return "folder"
        if not self.path.exists():
            folder = self.path.parent
            names = [file.name for file in folder.iterdir()] if folder.is_dir() else []
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
        """Check that the pictures in an output folder are not mixed with images of the source.

        They could replace images, or be images of the source in the next run.

        Raises:
            ConfigError: if the output folder is in the source, or has the source's file.
        """
        if self.kind == "index":
            return  # Pictures of an index have other names than its images.
        out_folder, source = out.resolve(), self.path.resolve()
        if self.kind == "folder":
            is_mixed = out_folder.is_relative_to(source)
        else:
            is_mixed = out_folder == source.parent
        if is_mixed:
            raise ConfigError(
                f"--out {out} is in the folder of the images: pictures would be mixed with them; "
                "name a folder elsewhere"
            )

    def images(
        self, unreadable: UnreadableImages, check_picture: Callable[[str], None] | None = None
    ) -> Iterator[SourceImage]:
        """Return an iterator over the images in their order, which decodes videos as it goes.

        The headers of all image files are read before the first image is returned, so that an
        image with a wrong header is found at once.

        Args:
            unreadable: decides what happens to images that cannot be read.
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
        images_and_videos: list[list[SourceImage] | Path] = []
        pictures = _PictureNames(base, folders)
        number = 0
        for folder in folders:
            remaining = None if self.max_images is None else max(self.max_images - number, 0)
            names = folder.images[:: self.every][:remaining]
            number += len(names)
            paths = [folder.path / name for name in names]
            images = list(_of_files(paths, pictures, unreadable))
            images_and_videos.append(images)
            for image in images:
                check(image.picture)
            if number == self.max_images:
                break
            for name in folder.videos:
                images_and_videos.append(folder.path / name)
                check(pictures.of(folder.path / name, _VIDEO_OUTPUT))
        return islice(self._joined(images_and_videos, pictures, unreadable), self.max_images)

    def _single(self) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """Return the names of the images and of the videos of a source that is one file."""
        name = (self.path.name,)
        return (name, ()) if self.kind == "image" else ((), name)

    def _joined(
        self,
        images_and_videos: Sequence[list[SourceImage] | Path],
        pictures: _PictureNames,
        unreadable: UnreadableImages,
    ) -> Iterator[SourceImage]:
        """Yield images, and the images of videos, which are given as paths."""
        for item in images_and_videos:
            if isinstance(item, list):
                yield from item
                continue
            with unreadable.skipped():
                for video_frame in decode_video(item, every=self.every):
                    yield SourceImage(
                        path=item,
                        size=(int(video_frame.image.shape[0]), int(video_frame.image.shape[1])),
                        picture=pictures.of(item, _VIDEO_OUTPUT),
                        pixels=video_frame.image,
                        frame=video_frame.number,
                        time=video_frame.time / 1e6,
                    )

    def _of_index(self, check_picture: Callable[[str], None]) -> Iterator[SourceImage]:
        """Return an iterator over the selected frames of an index; see ``images``."""
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
    """Return a frame of an index as an image."""
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
    """Read the headers of image files, and yield the images."""
    for path in paths:
        with unreadable.skipped():
            width, height = image_size(path)
            yield SourceImage(
                path=path, size=(height, width), picture=pictures.of(path, _IMAGE_OUTPUT)
            )


class _PictureNames:
    """Names of pictures, a different one for each file.

    Args:
        base: folder that the names are relative to.
        folders: all folders with files at or below ``base``.
    """

    def __init__(self, base: Path, folders: Sequence[Folder]) -> None:
        self._base = base
        self._used: set[str] = set()
        for folder in folders:
            inside = folder.path.relative_to(base)
            self._used |= {parent.as_posix() for parent in (inside, *inside.parents)}
            self._used |= {(inside / file).as_posix() for file in (*folder.images, *folder.videos)}

    def of(self, path: Path, suffixes: tuple[str, ...]) -> str:
        """Return the path of a file's picture: the file's own path, relative to ``base``.

        Args:
            path: the file.
            suffixes: suffixes that the picture may have. If the file has another, the first of
                these is added, more than once if another file or a folder has that path.
        """
        name = path.relative_to(self._base).as_posix()
        if path.suffix.lower() in suffixes:
            return name
        name += suffixes[0]
        while name in self._used:
            name += suffixes[0]
        return name


def _every(scene_F: SmallInts, camera_F: SmallInts, every: int) -> Bools:
    """Return (F,) True for every n-th frame of each camera of each scene.

    Args:
        scene_F: scene of each frame; frames of one camera of a scene are consecutive.
        camera_F: camera of each frame.
        every: n.
    """
    is_first = np.ones(len(scene_F), np.bool_)
    is_first[1:] = (np.diff(scene_F) != 0) | (np.diff(camera_F) != 0)
    positions = np.arange(len(scene_F))
    starts = np.maximum.accumulate(np.where(is_first, positions, 0))
    chosen: Bools = (positions - starts) % every == 0
    return chosen
