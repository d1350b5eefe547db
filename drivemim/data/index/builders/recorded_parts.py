"""The parts of a recorded scene: cameras, files and boxes."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from drivemim.array_types import Floats
from drivemim.data.index.builders.recorded_values import RowProblem
from drivemim.data.index.builders.source_rows import SourceRows
from drivemim.errors import DataError

Boxes3D = tuple[Floats, Floats, Floats]
"""Centre (M, 3), size (M, 3) and rotation (M, 4) of boxes."""
LEVELS = range(5)
"""Valid values of the visibility of a box: 0 (unknown), then 1 (0-40 %) to 4 (80-100 %)."""


@dataclass(frozen=True, eq=False)
class RecordedCamera:
    """Calibration of a camera in a scene.

    Attributes:
        name: name of the camera.
        intrinsics: (3, 3) pixels.
        size: width and height, pixels.
        mount: (7,) camera to ego: translation in metres and quaternion w x y z.
        distortion: OpenCV's coefficients; empty or zeros without distortion.
        source: file or scene that the calibration is from, for messages.
    """

    name: str
    intrinsics: Floats
    size: tuple[int, int]
    mount: Floats
    distortion: tuple[float, ...]
    source: str


@dataclass(frozen=True, eq=False)
class RecordedFile:
    """An image, or a lidar scan.

    Attributes:
        path: relative to the data root.
        time: microseconds.
        pose: (7,) ego pose; None to interpolate it.
    """

    path: str
    time: int
    pose: Floats | None


class RecordedBoxes:
    """The M boxes of a scene that were added so far.

    Attributes:
        moments: the annotated moments in microseconds, each with the names of its rows for
            messages. A moment without boxes has one row.
        times: (M,) moment of each box.
        columns: ``tracks``, ``categories``, ``attributes``, ``visibility`` and ``lidar_points``,
            each (M,).
        boxes_3d: (center, size, rotation) of the boxes of each call of ``add``.
        rows: names of the boxes of each call of ``add``.
    """

    def __init__(self) -> None:
        self.moments: dict[int, SourceRows] = {}
        self.times: list[int] = []
        self.columns: defaultdict[str, list[Any]] = defaultdict(list)
        self.boxes_3d: list[Boxes3D] = []
        self.rows: list[SourceRows] = []
        self._categories: dict[str, str] = {}
        self._annotated: set[tuple[int, str]] = set()
        self._empty: set[int] = set()

    def __len__(self) -> int:
        return len(self.times)

    def add(
        self,
        time: int,
        tracks: Sequence[str],
        columns: Mapping[str, Sequence[Any]],
        boxes_3d: Boxes3D,
        rows: SourceRows,
    ) -> None:
        """Add the boxes of one moment, or that it has none; see ``RecordedScene.add_boxes``."""
        count = len(boxes_3d[0])
        for column, values in {"tracks": tracks, **columns}.items():
            if len(values) != count:
                raise DataError(f"{rows.file(0)}: {len(values)} {column} for {count} centers")
        for row, problem in self.problems(time, tracks, columns):
            raise DataError(f"{rows.file(row)}: {rows.name(row)} {problem}")
        self._categories |= dict(zip(tracks, columns["categories"], strict=True))
        self._annotated |= {(time, track) for track in tracks}
        self.moments.setdefault(time, rows)
        if count == 0:
            self._empty.add(time)
        self.times += [time] * count
        for column, values in {"tracks": tracks, **columns}.items():
            self.columns[column] += values
        self.boxes_3d.append(boxes_3d)
        self.rows.append(rows)

    def problems(
        self, time: int, tracks: Sequence[str], columns: Mapping[str, Sequence[Any]]
    ) -> Iterator[RowProblem]:
        """Yield the row and the problem of each new box that is invalid or contradicts another.

        A moment that has no boxes contradicts boxes at the same time.

        Args:
            time: the moment of the new boxes, microseconds.
            tracks: the object of each box; empty for a moment without boxes, whose row is 0.
            columns: at least ``categories`` and ``visibility`` of each box.
        """
        if time in self.moments and (len(tracks) == 0 or time in self._empty):
            earlier, has_now = self.moments[time].name(0), "a box" if len(tracks) else "nothing"
            had_earlier = "nothing" if time in self._empty else "a box"
            problem = f"has {has_now} at {time}, but {earlier} has {had_earlier} at that time"
            yield 0, f"{problem}; give each moment once"
        earlier_tracks: set[str] = set()
        for row, track in enumerate(tracks):
            category, visibility = columns["categories"][row], columns["visibility"][row]
            first_category = self._categories.get(track, category)
            if not track or not category:
                yield row, "has no track" if category else "has no category"
            elif (time, track) in self._annotated or track in earlier_tracks:
                yield row, f"annotates the track {track!r} a second time at {time}"
            elif first_category != category:
                problem = f"has the category {category!r}, but the track {track!r} is"
                yield row, f"{problem} {first_category!r} before; give each object one category"
            elif visibility not in LEVELS:
                yield row, f"has visibility {visibility!r}; use 1 to 4, or 0 if it is unknown"
            earlier_tracks.add(track)
