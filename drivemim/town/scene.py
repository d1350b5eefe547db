"""A scene whose camera images and lidar scans can be rendered at any time.

Letters: A objects.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from drivemim.array_types import Floats, Floats32, Image, Ints
from drivemim.town.agents import Agents
from drivemim.town.ground import shadow_texture
from drivemim.town.lidar_scan import cast_lidar
from drivemim.town.quads import BACKGROUND, Quads, TextureBank
from drivemim.town.render import RenderOutput, draw_shadows, render
from drivemim.town.rig import LIDAR_POSITION, LIDAR_YAW, Camera, make_rig, yaw_matrix
from drivemim.town.static_scene import build_static_scene
from drivemim.town.town_config import TownConfig
from drivemim.town.traffic import make_traffic
from drivemim.town.weather import Weather

_PEOPLE_HEIGHT = 0.24
"""Height of the textures of people, as a fraction of the image's width."""
_GROUND_METRES = 40
"""Metres of ground that are drawn with as many pixels as an image is wide."""
_SHADOW_MARGIN = 0.35
"""Metres by which a shadow is longer and wider than the box."""


@dataclass(frozen=True)
class SceneBoxes:
    """Boxes of every track at one instant, world frame.

    Attributes:
        centers_A3: metres.
        sizes_A3: width, length, height in metres.
        yaws_A: radians.
        speeds_A: metres per second.
    """

    centers_A3: Floats
    sizes_A3: Floats
    yaws_A: Floats
    speeds_A: Floats


class TownScene:
    """Static scene, agents, weather and sensors of one scene; times are seconds from its start.

    Args:
        config: options of the town.
        number: number of the scene within the town.
    """

    def __init__(self, config: TownConfig, number: int) -> None:
        self.spec = config.scene_specs[number]
        self.condition = self.spec.condition
        self.rig = make_rig(config.image_size)
        # One more number makes the random streams of traffic, agents, weather and images differ.
        self._seed = [config.seed, self.spec.seed]
        self._bank = TextureBank()
        self.traffic = make_traffic(
            config, self.spec.number, np.random.default_rng([*self._seed, 1])
        )
        self.agents = Agents(
            self.traffic.tracks,
            self._bank,
            self.condition,
            [*self._seed, 2],
            int(np.clip(config.image_size[1] * _PEOPLE_HEIGHT, 64, 192)),
        )
        path = self.traffic.ego.positions_S2
        pixels_per_metre = float(np.clip(config.image_size[1] / _GROUND_METRES, 6, 20))
        self.static = build_static_scene(
            path.min(axis=0),
            path.max(axis=0),
            town_seed=config.seed,
            pixels_per_metre=pixels_per_metre,
            condition=self.condition,
            bank=self._bank,
        )
        self._weather = Weather(self.condition, self.rig, [*self._seed, 3])
        self._shadow_texture = shadow_texture(self.condition)
        self._sizes_A3 = np.array([t.size_wlh for t in self.traffic.tracks]).reshape(-1, 3)

    @property
    def description(self) -> str:
        """Description in the style of nuScenes; the last words are the same in every scene."""
        words = [self.condition.name, self.traffic.description, "peds crossing, parked cars"]
        text = ", ".join(word for word in words if word)
        return text[0].upper() + text[1:]

    def ego(self, time: float) -> tuple[Floats, float]:
        """Return the position (3) and yaw of the ego car, metres and radians."""
        positions, yaws, _ = self.traffic.at(time)
        return np.array([*positions[0], 0.0]), float(yaws[0])

    def boxes(self, time: float) -> SceneBoxes:
        """Return the boxes of all tracks."""
        positions, yaws, _ = self.traffic.at(time)
        centers = np.concatenate([positions[1:], self._sizes_A3[:, 2:] / 2], axis=1)
        return SceneBoxes(centers, self._sizes_A3, yaws[1:], self.traffic.speeds(time))

    def quads(self, time: float, viewpoint_3: Floats) -> Quads:
        """Return all quads except the ground, in the world frame; sprites face ``viewpoint_3``."""
        positions, yaws, travelled = self.traffic.at(time)
        state = positions[1:], yaws[1:], travelled[1:]
        return Quads.cat(
            [
                self.static.walls,
                self.static.props.facing(viewpoint_3),
                self.agents.to_quads(*state),
                self.agents.to_sprites(*state, viewpoint_3).facing(viewpoint_3),
            ]
        )

    def render(self, time: float, camera: Camera, *, amodal: bool = False) -> RenderOutput:
        """Render a camera's view without weather; ``amodal`` as in ``drivemim.town.render``."""
        pose = camera.pose(*self.ego(time))
        quads = self.quads(time, pose[0])
        output = render(quads, self._bank, self.static.ground, camera, pose, amodal=amodal)
        draw_shadows(output, self._shadow_quads(time), self._shadow_texture, camera, pose)
        return output

    def apply_weather(self, output: RenderOutput, time: float, camera: Camera) -> Image:
        """Return the camera's final image of a rendered view, BGR."""
        # Add 10 s: a camera may trigger before the scene's start, but a seed must not be negative.
        noise_seed = [*self._seed, 4, self.rig.index(camera), round((time + 10) * 1e6)]
        return self._weather.apply(
            output, camera, self.ego(time)[1], np.random.default_rng(noise_seed)
        )

    def lidar(self, time: float) -> tuple[Floats32, Ints, Floats, Floats]:
        """Scan the scene.

        Returns:
            Points and their instance ids as from ``cast_lidar``, and the scanner's position (3) and
            its rotation (3, 3) to the world frame.
        """
        position, yaw = self.ego(time)
        ego_33 = yaw_matrix(yaw)
        origin = position + ego_33 @ np.array(LIDAR_POSITION)
        rotation = ego_33 @ yaw_matrix(np.radians(LIDAR_YAW))
        points, instance_ids = cast_lidar(
            self.quads(time, origin), self._bank, self.static.ground, origin, rotation
        )
        return points, instance_ids, origin, rotation

    def _shadow_quads(self, time: float) -> Quads:
        """Return a quad on the ground under every track."""
        positions, yaws, _ = self.traffic.at(time)
        count = len(self._sizes_A3)
        length, width = (self._sizes_A3[:, side] + _SHADOW_MARGIN for side in (1, 0))
        forward = np.stack([np.cos(yaws[1:]), np.sin(yaws[1:]), np.zeros(count)], -1)
        left = np.stack([-forward[:, 1], forward[:, 0], np.zeros(count)], -1)
        ground = np.concatenate([positions[1:], np.full((count, 1), 0.01)], axis=1)
        corner = ground + forward * length[:, None] / 2 + left * width[:, None] / 2
        return Quads(
            corner,
            -left * width[:, None],
            -forward * length[:, None],
            np.zeros(count, np.int64),
            np.full(count, BACKGROUND, np.int64),
            np.ones(count, np.bool_),
        )
