"""A scene that can be rendered, photographed and scanned at any time."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from drivemim.town.actors import Actors
from drivemim.town.config import TownConfig
from drivemim.town.ground import draw_shadow
from drivemim.town.lidar import Floats32, cast_lidar
from drivemim.town.render import Picture, draw_shadows, render
from drivemim.town.rig import LIDAR_POSITION, LIDAR_YAW, Camera, make_rig, yaw_matrix
from drivemim.town.surfaces import BACKGROUND, Floats, Image, Ints, Surfaces, TextureBank
from drivemim.town.traffic import make_traffic
from drivemim.town.weather import Weather
from drivemim.town.world import build_world


@dataclass(frozen=True)
class Boxes:
    """Boxes of every track at one instant, world frame.

    Attributes:
        centres_A3: metres.
        sizes_A3: width, length, height in metres.
        yaws_A: radians.
        speeds_A: metres per second.
    """

    centres_A3: Floats
    sizes_A3: Floats
    yaws_A: Floats
    speeds_A: Floats


class Stage:
    """Static world, actors, weather and sensors of one scene; times are seconds from its start.

    Args:
        config: options of the town.
        number: number of the scene within the town.
    """

    def __init__(self, config: TownConfig, number: int) -> None:
        self.role = config.roles[number]
        self.condition = self.role.condition
        self.rig = make_rig(config.image_size)
        self._seed = [config.seed, self.role.chance]
        self._bank = TextureBank()
        self.traffic = make_traffic(
            config, self.role.number, np.random.default_rng([*self._seed, 1])
        )
        self.actors = Actors(
            self.traffic.tracks,
            self._bank,
            self.condition,
            [*self._seed, 2],
            int(np.clip(config.image_size[1] * 0.24, 64, 192)),
        )
        path = self.traffic.ego.places_S2
        detail = float(np.clip(config.image_size[1] / 40, 6, 20))
        self.world = build_world(
            path.min(axis=0),
            path.max(axis=0),
            town_seed=config.seed,
            pixels_per_metre=detail,
            condition=self.condition,
            bank=self._bank,
        )
        self._weather = Weather(self.condition, self.rig, [*self._seed, 3])
        self._shadow = draw_shadow(self.condition)
        self._sizes_A3 = np.array([t.size_wlh for t in self.traffic.tracks]).reshape(-1, 3)

    @property
    def description(self) -> str:
        """Description in the style of nuScenes' scene descriptions."""
        words = [self.condition.name, self.traffic.description, "peds crossing, parked cars"]
        text = ", ".join(word for word in words if word)
        return text[0].upper() + text[1:]

    def ego(self, time: float) -> tuple[Floats, float]:
        """Return the position (3) and yaw of the ego car, metres and radians."""
        places, yaws, _ = self.traffic.at(time)
        return np.array([*places[0], 0.0]), float(yaws[0])

    def boxes(self, time: float) -> Boxes:
        """Return the boxes of all tracks."""
        places, yaws, _ = self.traffic.at(time)
        centres = np.concatenate([places[1:], self._sizes_A3[:, 2:] / 2], axis=1)
        return Boxes(centres, self._sizes_A3, yaws[1:], self.traffic.speeds(time))

    def surfaces(self, time: float, eye_3: Floats) -> Surfaces:
        """Return all surfaces except the ground, as seen from ``eye_3``, world frame."""
        places, yaws, travelled = self.traffic.at(time)
        state = places[1:], yaws[1:], travelled[1:]
        return Surfaces.cat(
            [
                self.world.walls,
                self.world.props.facing(eye_3),
                self.actors.rigid(*state),
                self.actors.upright(*state, eye_3).facing(eye_3),
            ]
        )

    def render(self, time: float, camera: Camera, *, outlines: bool = False) -> Picture:
        """Render a camera's view, before weather."""
        pose = camera.pose(*self.ego(time))
        surfaces = self.surfaces(time, pose[0])
        picture = render(surfaces, self._bank, self.world.ground, camera, pose, outlines=outlines)
        draw_shadows(picture, self._shadows(time), self._shadow, camera, pose)
        return picture

    def photograph(self, picture: Picture, time: float, camera: Camera) -> Image:
        """Return the camera's final image of a rendered view, BGR."""
        noise = [*self._seed, 4, self.rig.index(camera), round((time + 10) * 1e6)]
        return self._weather.develop(
            picture, camera, self.ego(time)[1], np.random.default_rng(noise)
        )

    def lidar(self, time: float) -> tuple[Floats32, Ints, Floats, Floats]:
        """Return points and their owners, and the scanner's position and rotation to the world."""
        position, yaw = self.ego(time)
        ego_33 = yaw_matrix(yaw)
        eye = position + ego_33 @ np.array(LIDAR_POSITION)
        rotation = ego_33 @ yaw_matrix(np.radians(LIDAR_YAW))
        points, owners = cast_lidar(
            self.surfaces(time, eye), self._bank, self.world.ground, eye, rotation
        )
        return points, owners, eye, rotation

    def _shadows(self, time: float) -> Surfaces:
        """Return flat rectangles under the tracks."""
        places, yaws, _ = self.traffic.at(time)
        count = len(self._sizes_A3)
        length, width = self._sizes_A3[:, 1] + 0.35, self._sizes_A3[:, 0] + 0.35
        forward = np.stack([np.cos(yaws[1:]), np.sin(yaws[1:]), np.zeros(count)], -1)
        left = np.stack([-forward[:, 1], forward[:, 0], np.zeros(count)], -1)
        ground = np.concatenate([places[1:], np.full((count, 1), 0.01)], axis=1)
        corner = ground + forward * length[:, None] / 2 + left * width[:, None] / 2
        return Surfaces(
            corner,
            -left * width[:, None],
            -forward * length[:, None],
            np.zeros(count, np.int64),
            np.full(count, BACKGROUND, np.int64),
            np.ones(count, np.bool_),
        )
