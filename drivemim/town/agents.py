"""Quads and sprites of a scene's annotated objects, which follow their tracks.

Letters: A objects.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from drivemim.array_types import Floats, Ints
from drivemim.town.composite_vehicles import COMPOSITE_VEHICLES, build_composite_vehicle
from drivemim.town.motorcycles import build_motorcycle
from drivemim.town.people import PHASES, VIEWS, Outfit, draw_cyclist, draw_person, draw_rider
from drivemim.town.quads import Quads, Sprites, Texture, TextureBank
from drivemim.town.rig import yaw_matrix
from drivemim.town.textures import draw_barrier, draw_cone, make_texture
from drivemim.town.town_config import Condition
from drivemim.town.tracks import Track
from drivemim.town.vehicles import VEHICLE_SHAPES, build_vehicle

_PEDAL_PHASES = 4  # textures of a cyclist per turn of the pedals
_PEDAL_TURN_LENGTH = 2.2  # distance that a cyclist covers per turn of the pedals, metres
_CYCLE_LENGTH = 0.8  # distance that a pedestrian covers per walking cycle, body heights
_MIN_WALKING_DISTANCE = 0.5  # a pedestrian who moves less in the whole scene stands still; metres
_INSET = 0.999  # shrinks bodies so that rounding does not put lidar points outside their boxes


class Agents:
    """Annotated objects of a scene; the instance id of a track is its index plus one.

    Args:
        tracks: the scene's tracks.
        bank: receives the textures; pedestrians are drawn on first use.
        condition: light of the scene.
        seed: random seed of the objects' appearance.
        texture_height: height of the textures of people, pixels.
    """

    def __init__(
        self,
        tracks: list[Track],
        bank: TextureBank,
        condition: Condition,
        seed: list[int],
        texture_height: int,
    ) -> None:
        self._bank, self._condition, self._texture_height = bank, condition, texture_height
        bodies: list[Quads] = []
        self._people = np.array(
            [k for k, track in enumerate(tracks) if track.is_pedestrian], np.int64
        )
        self._cones = np.array([k for k, t in enumerate(tracks) if t.kind == "cone"], np.int64)
        self._sizes_A3 = np.array([track.size_wlh for track in tracks], np.float64).reshape(-1, 3)
        self._first_texture_A = np.zeros(len(tracks), np.int64)
        self._first_pedal_texture: dict[int, int] = {}
        for index, track in enumerate(tracks):
            generator = np.random.default_rng([*seed, index])
            if track.is_pedestrian:
                self._first_texture_A[index] = self._add_person_textures(track, generator)
            elif track.kind in VEHICLE_SHAPES:
                shape = VEHICLE_SHAPES[track.kind]
                bodies.append(
                    build_vehicle(shape, track.size_wlh, index + 1, generator, bank, condition)
                )
            elif track.kind in COMPOSITE_VEHICLES:
                vehicle = COMPOSITE_VEHICLES[track.kind]
                bodies.append(
                    build_composite_vehicle(
                        vehicle, track.size_wlh, index + 1, generator, bank, condition
                    )
                )
            elif track.kind in ("motorcyclist", "motorcycle"):
                has_rider = track.kind == "motorcyclist"
                options = generator, bank, condition, texture_height
                bodies.append(build_motorcycle(track.size_wlh, index + 1, has_rider, *options))
            elif track.kind in ("cyclist", "bicycle"):
                bodies.append(self._bicycle(track, index, generator))
            elif track.kind == "cone":
                image, alpha = draw_cone()
                self._first_texture_A[index] = bank.add(
                    make_texture(image, condition, alpha_HW=alpha)
                )
            else:
                bodies.append(self._barrier(track, index))
        self._bodies = (Quads.cat(bodies) if bodies else Quads.make([])).scaled(_INSET)

    def to_quads(self, positions_A2: Floats, yaws_A: Floats, travelled_A: Floats) -> Quads:
        """Return the quads of vehicles, cycles and barriers in the world frame.

        Args:
            positions_A2: positions on the ground, metres.
            yaws_A: radians.
            travelled_A: distances covered so far, metres; they turn the pedals.
        """
        track_of_quad = self._bodies.instance_id_M - 1
        cos, sin = np.cos(yaws_A)[track_of_quad], np.sin(yaws_A)[track_of_quad]

        def turn(vectors: Floats) -> Floats:
            x, y = vectors[:, 0], vectors[:, 1]
            return np.stack([cos * x - sin * y, sin * x + cos * y, vectors[:, 2]], -1)

        corners = turn(self._bodies.corner_M3)
        corners[:, :2] += positions_A2[track_of_quad]
        textures = self._bodies.texture_M.copy()
        for index, first in self._first_pedal_texture.items():
            phase = int(travelled_A[index] / _PEDAL_TURN_LENGTH * _PEDAL_PHASES) % _PEDAL_PHASES
            side_view = np.flatnonzero(track_of_quad == index)[0]  # a bicycle's first quad
            textures[side_view] = first + phase
        return Quads(
            corners,
            turn(self._bodies.right_M3),
            turn(self._bodies.down_M3),
            textures,
            self._bodies.instance_id_M,
            self._bodies.two_sided_M,
        )

    def to_sprites(
        self, positions_A2: Floats, yaws_A: Floats, travelled_A: Floats, viewpoint_3: Floats
    ) -> Sprites:
        """Return pedestrians and cones as sprites; pedestrians as seen from ``viewpoint_3``.

        Args:
            positions_A2: positions on the ground, metres.
            yaws_A: radians.
            travelled_A: distances covered so far, metres; they set the phase of the walking cycle.
            viewpoint_3: position of the camera or scanner in the world frame, metres.
        """
        agents = np.concatenate([self._people, self._cones])
        people = self._people
        toward = viewpoint_3[:2] - positions_A2[people]
        view = np.arctan2(toward[:, 1], toward[:, 0]) - yaws_A[people]
        views = np.rint(view / (2 * np.pi) * VIEWS).astype(np.int64) % VIEWS
        cycle = _CYCLE_LENGTH * self._sizes_A3[people, 2]
        phases = (travelled_A[people] / cycle * PHASES).astype(np.int64) % PHASES
        textures: Ints = self._first_texture_A[agents].copy()
        textures[: len(people)] += views * PHASES + phases
        foot = np.concatenate([positions_A2[agents], np.zeros((len(agents), 1))], axis=1)
        sizes = self._sizes_A3[agents]
        return Sprites(foot, sizes[:, 0], sizes[:, 2], textures, agents + 1)

    def _add_person_textures(self, track: Track, generator: np.random.Generator) -> int:
        """Add a pedestrian's textures of all views and walking phases; return the first number."""
        outfit = Outfit.sample(generator, vest=track.kind == "worker")
        moving = bool(track.travelled_distance()[-1] > _MIN_WALKING_DISTANCE)
        stride = 0.13 if moving else 0.0
        aspect_ratio = track.size_wlh[0] / track.size_wlh[2]

        def make_painter(view: int, phase: int) -> Callable[[], Texture]:
            def paint() -> Texture:
                image, alpha = draw_person(
                    outfit,
                    view * 2 * np.pi / VIEWS,
                    phase / PHASES,
                    stride,
                    aspect_ratio,
                    self._texture_height,
                )
                return make_texture(image, self._condition, alpha_HW=alpha)

            return paint

        numbers = [
            self._bank.add(make_painter(view, phase))
            for view in range(VIEWS)
            for phase in range(PHASES)
        ]
        return numbers[0]

    def _bicycle(self, track: Track, index: int, generator: np.random.Generator) -> Quads:
        """Build the quads of a bicycle, with its rider if the track is a cyclist's.

        One quad along the bicycle shows the side view. Two quads across it show the rider from the
        front and from behind.
        """
        width, length, height = track.size_wlh
        outfit = Outfit.sample(generator)
        frame_colour = tuple(generator.integers(20, 230, 3).tolist())
        has_rider = track.kind == "cyclist"
        # The side view is drawn as high as long; above a bicycle without a rider it is empty.
        drawn_height = 1.0 if has_rider else height / length
        sides = []
        for phase in range(_PEDAL_PHASES if has_rider else 1):
            image, alpha = draw_cyclist(
                outfit,
                phase / _PEDAL_PHASES if has_rider else -1.0,
                frame_colour,
                self._texture_height,
            )
            cut = round(len(image) * (1 - drawn_height))
            sides.append(
                self._bank.add(make_texture(image[cut:], self._condition, alpha_HW=alpha[cut:]))
            )
        rows = [([-length / 2, 0.0, height], [length, 0.0, 0.0], [0.0, 0.0, -height], sides[0])]
        body = Quads.make(rows, index + 1, two_sided=True)
        if not has_rider:
            return body
        self._first_pedal_texture[index] = sides[0]
        across = []
        for sign in (1.0, -1.0):
            image, alpha = draw_rider(
                outfit, 0.0 if sign > 0 else np.pi, width / height, self._texture_height
            )
            number = self._bank.add(make_texture(image, self._condition, alpha_HW=alpha))
            corner = [-0.05 * length, -sign * width / 2, height]
            across.append((corner, [0.0, sign * width, 0.0], [0.0, 0.0, -height], number))
        return Quads.cat([body, Quads.make(across, index + 1)])

    def _barrier(self, track: Track, index: int) -> Quads:
        """Build the four sides of a barrier."""
        width, length, height = track.size_wlh
        image = draw_barrier()
        face = self._bank.add(make_texture(image, self._condition))
        end = self._bank.add(
            make_texture(np.ascontiguousarray(image[:, :16]), self._condition, shade=0.8)
        )
        rows = []
        for quarter in range(4):
            turn = yaw_matrix(quarter * np.pi / 2)
            across, ahead = (width, length) if quarter % 2 == 0 else (length, width)
            corner = turn @ np.array([ahead / 2, -across / 2, height])
            right = turn @ np.array([0.0, across, 0.0])
            number = face if quarter % 2 == 0 else end
            rows.append((corner.tolist(), right.tolist(), [0.0, 0.0, -height], number))
        return Quads.make(rows, index + 1)
