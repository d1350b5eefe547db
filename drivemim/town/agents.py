"""Quads of a scene's objects, which follow their tracks."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from drivemim.town.composite_vehicles import COMPOSITE_VEHICLES, build_composite_vehicle
from drivemim.town.motorcycles import build_motorcycle
from drivemim.town.people import (
    PHASES,
    VIEWS,
    Outfit,
    draw_cyclist,
    draw_person,
    draw_rider,
)
from drivemim.town.quads import (
    Floats,
    Ints,
    Quads,
    Sprites,
    Texture,
    TextureBank,
)
from drivemim.town.rig import yaw_matrix
from drivemim.town.textures import draw_barrier, draw_cone, finish
from drivemim.town.town_config import Condition
from drivemim.town.tracks import Track
from drivemim.town.vehicles import VEHICLE_SHAPES, build_vehicle

_PEDALS = 4
_INSET = 0.999  # shrinks bodies so that rounding does not put lidar points outside their boxes


class Agents:
    """Objects of a scene; the instance_id number of a track's quads is its position plus one.

    Args:
        tracks: the scene's tracks.
        bank: receives the textures; people are drawn when they are first seen.
        condition: light of the scene.
        seed: random seed of the objects' looks.
        detail: height of the picture of a person, pixels.
    """

    def __init__(
        self,
        tracks: list[Track],
        bank: TextureBank,
        condition: Condition,
        seed: list[int],
        detail: int,
    ) -> None:
        self._bank, self._condition, self._detail = bank, condition, detail
        bodies: list[Quads] = []
        self._people = np.array(
            [k for k, track in enumerate(tracks) if track.is_pedestrian], np.int64
        )
        self._cones = np.array([k for k, t in enumerate(tracks) if t.kind == "cone"], np.int64)
        self._sizes_A3 = np.array([track.size_wlh for track in tracks], np.float64).reshape(-1, 3)
        self._sheets_A = np.zeros(len(tracks), np.int64)
        self._pedals: dict[int, int] = {}
        for position, track in enumerate(tracks):
            generator = np.random.default_rng([*seed, position])
            if track.is_pedestrian:
                self._sheets_A[position] = self._person_sheet(track, generator)
            elif track.kind in VEHICLE_SHAPES:
                shape = VEHICLE_SHAPES[track.kind]
                bodies.append(
                    build_vehicle(shape, track.size_wlh, position + 1, generator, bank, condition)
                )
            elif track.kind in COMPOSITE_VEHICLES:
                kind = COMPOSITE_VEHICLES[track.kind]
                bodies.append(
                    build_composite_vehicle(
                        kind, track.size_wlh, position + 1, generator, bank, condition
                    )
                )
            elif track.kind in ("motorcyclist", "motorcycle"):
                ridden = track.kind == "motorcyclist"
                look = generator, bank, condition, detail
                bodies.append(build_motorcycle(track.size_wlh, position + 1, ridden, *look))
            elif track.kind in ("cyclist", "bicycle"):
                bodies.append(self._bicycle(track, position, generator))
            elif track.kind == "cone":
                image, alpha = draw_cone()
                self._sheets_A[position] = bank.add(finish(image, condition, alpha_HW=alpha))
            else:
                bodies.append(self._barrier(track, position))
        self._bodies = (Quads.cat(bodies) if bodies else Quads.make([])).scaled(_INSET)

    def rigid(self, positions_A2: Floats, yaws_A: Floats, travelled_A: Floats) -> Quads:
        """Return vehicles, cycles and barriers as quads in the world frame."""
        rows = self._bodies.instance_id_M - 1
        cos, sin = np.cos(yaws_A)[rows], np.sin(yaws_A)[rows]

        def turn(vectors: Floats) -> Floats:
            x, y = vectors[:, 0], vectors[:, 1]
            return np.stack([cos * x - sin * y, sin * x + cos * y, vectors[:, 2]], -1)

        corners = turn(self._bodies.corner_M3)
        corners[:, :2] += positions_A2[rows]
        textures = self._bodies.texture_M.copy()
        for position, first in self._pedals.items():
            phase = int(travelled_A[position] / 2.2 * _PEDALS) % _PEDALS
            textures[np.flatnonzero(rows == position)[0]] = first + phase
        return Quads(
            corners,
            turn(self._bodies.right_M3),
            turn(self._bodies.down_M3),
            textures,
            self._bodies.instance_id_M,
            self._bodies.two_sided_M,
        )

    def upright(
        self, positions_A2: Floats, yaws_A: Floats, travelled_A: Floats, viewpoint_3: Floats
    ) -> Sprites:
        """Return pedestrians and cones, with pictures that suit a view from ``viewpoint_3``."""
        who = np.concatenate([self._people, self._cones])
        people = self._people
        toward = viewpoint_3[:2] - positions_A2[people]
        view = np.arctan2(toward[:, 1], toward[:, 0]) - yaws_A[people]
        views = np.rint(view / (2 * np.pi) * VIEWS).astype(np.int64) % VIEWS
        cycle = 0.8 * self._sizes_A3[people, 2]
        phases = (travelled_A[people] / cycle * PHASES).astype(np.int64) % PHASES
        textures: Ints = self._sheets_A[who].copy()
        textures[: len(people)] += views * PHASES + phases
        foot = np.concatenate([positions_A2[who], np.zeros((len(who), 1))], axis=1)
        sizes = self._sizes_A3[who]
        return Sprites(foot, sizes[:, 0], sizes[:, 2], textures, who + 1)

    def _person_sheet(self, track: Track, generator: np.random.Generator) -> int:
        """Add a person's pictures, all views and walking phases; return the first one's number."""
        outfit = Outfit.draw(generator, vest=track.kind == "worker")
        moving = bool(track.travelled_distance()[-1] > 0.5)
        stride = 0.13 if moving else 0.0
        fraction = track.size_wlh[0] / track.size_wlh[2]

        def painter(view: int, phase: int) -> Callable[[], Texture]:
            def paint() -> Texture:
                image, alpha = draw_person(
                    outfit, view * 2 * np.pi / VIEWS, phase / PHASES, stride, fraction, self._detail
                )
                return finish(image, self._condition, alpha_HW=alpha)

            return paint

        numbers = [
            self._bank.add(painter(view, phase)) for view in range(VIEWS) for phase in range(PHASES)
        ]
        return numbers[0]

    def _bicycle(self, track: Track, position: int, generator: np.random.Generator) -> Quads:
        """Build a picture along the bicycle, and two across it if it has a rider."""
        width, length, height = track.size_wlh
        outfit = Outfit.draw(generator)
        frame = tuple(generator.integers(20, 230, 3).tolist())
        ridden = track.kind == "cyclist"
        fraction = 1.0 if ridden else height / length
        sides = []
        for phase in range(_PEDALS if ridden else 1):
            image, alpha = draw_cyclist(
                outfit, phase / _PEDALS if ridden else -1.0, frame, self._detail
            )
            cut = round(len(image) * (1 - fraction))
            sides.append(self._bank.add(finish(image[cut:], self._condition, alpha_HW=alpha[cut:])))
        rows = [([-length / 2, 0.0, height], [length, 0.0, 0.0], [0.0, 0.0, -height], sides[0])]
        body = Quads.make(rows, position + 1, two_sided=True)
        if not ridden:
            return body
        self._pedals[position] = sides[0]
        across = []
        for sign in (1.0, -1.0):
            image, alpha = draw_rider(
                outfit, 0.0 if sign > 0 else np.pi, width / height, self._detail
            )
            number = self._bank.add(finish(image, self._condition, alpha_HW=alpha))
            corner = [-0.05 * length, -sign * width / 2, height]
            across.append((corner, [0.0, sign * width, 0.0], [0.0, 0.0, -height], number))
        return Quads.cat([body, Quads.make(across, position + 1)])

    def _barrier(self, track: Track, position: int) -> Quads:
        width, length, height = track.size_wlh
        image = draw_barrier()
        face = self._bank.add(finish(image, self._condition))
        end = self._bank.add(
            finish(np.ascontiguousarray(image[:, :16]), self._condition, shade=0.8)
        )
        rows = []
        for quarter in range(4):
            turn = yaw_matrix(quarter * np.pi / 2)
            across, ahead = (width, length) if quarter % 2 == 0 else (length, width)
            corner = turn @ np.array([ahead / 2, -across / 2, height])
            right = turn @ np.array([0.0, across, 0.0])
            number = face if quarter % 2 == 0 else end
            rows.append((corner.tolist(), right.tolist(), [0.0, 0.0, -height], number))
        return Quads.make(rows, position + 1)
