"""Options, scenes and weather of the generated town."""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import cycle

from drivemim.errors import ConfigError

KEYFRAME_RATE = 2.0  # samples per second
_OFFICIAL_TRAIN, _OFFICIAL_VAL = 700, 150
"""Number of scenes in nuScenes' splits ``train`` and ``val``."""


@dataclass(frozen=True, kw_only=True)
class Condition:
    """Light and weather of a scene.

    Attributes:
        name: first words of the scene's description; empty for a dry day.
        ambient: gain of the colours of all quads that do not glow, BGR.
        zenith: sky colour overhead, BGR.
        horizon: colour of haze and of the sky at the horizon, BGR.
        haze: distance at which half of an object's colour is replaced by haze, metres.
        night: whether lamps and windows glow and headlights are on.
        rain: whether the ground is wet and rain falls.
        noise: maximum sensor noise, grey levels.
    """

    name: str
    ambient: tuple[float, float, float]
    zenith: tuple[int, int, int]
    horizon: tuple[int, int, int]
    haze: float
    night: bool = False
    rain: bool = False
    noise: int = 6


DAY = Condition(
    name="",
    ambient=(1.0, 1.0, 1.0),
    zenith=(205, 150, 95),
    horizon=(232, 222, 208),
    haze=420.0,
)
DUSK = Condition(
    name="Dusk",
    ambient=(0.52, 0.55, 0.68),
    zenith=(105, 70, 62),
    horizon=(105, 140, 215),
    haze=260.0,
    noise=9,
)
NIGHT = Condition(
    name="Night",
    ambient=(0.33, 0.28, 0.26),
    zenith=(26, 16, 12),
    horizon=(48, 38, 36),
    haze=300.0,
    night=True,
    noise=14,
)
RAIN = Condition(
    name="Rain",
    ambient=(0.72, 0.70, 0.67),
    zenith=(150, 144, 138),
    horizon=(178, 172, 166),
    haze=110.0,
    rain=True,
    noise=8,
)
NIGHT_RAIN = Condition(
    name="Night, rain",
    ambient=(0.30, 0.26, 0.25),
    zenith=(32, 24, 20),
    horizon=(56, 47, 44),
    haze=130.0,
    night=True,
    rain=True,
    noise=16,
)
SCENE_CONDITIONS = {
    "scene-0061": DAY,
    "scene-0553": NIGHT,
    "scene-0655": RAIN,
    "scene-0757": DUSK,
    "scene-0796": DAY,
    "scene-1077": NIGHT_RAIN,
    "scene-1094": DAY,
    "scene-1100": DUSK,
    "scene-0103": DAY,
    "scene-0916": NIGHT,
}
"""Condition of each scene of nuScenes' split ``mini_train``, then of ``mini_val``."""
_MINI_TRAIN = 8
"""Number of the first scenes of ``SCENE_CONDITIONS`` that are in ``mini_train``."""


@dataclass(frozen=True, kw_only=True)
class SceneSpec:
    """Name, condition and random seed of one scene of a town.

    Attributes:
        name: name of a nuScenes scene.
        condition: light and weather.
        number: selects what the ego car does, and the timestamps.
        seed: random seed of the scene, used together with the town's seed.
    """

    name: str
    condition: Condition
    number: int
    seed: int


@dataclass(frozen=True, kw_only=True)
class TownConfig:
    """Options of a generated town.

    Attributes:
        scenes: number of scenes. Up to 10 scenes come from ``mini_train`` and ``mini_val``, at
            least one from each; up to 850 from ``train`` and ``val``, in the ratio 700 to 150.
        seconds: length of a scene; keyframes are half a second apart, first and last included.
        sweep_rate: images per second of every camera, keyframes included; a multiple of 2.
        image_size: height and width of the images, pixels.
        seed: the same seed gives byte-identical files.
        pedestrians: number of people along the whole drive, so fewer per metre on a longer one.
        vehicles: number of vehicles and cycles along the whole drive. From 8 on, and with a few
            people, a scene shows all ten nuScenes detection classes near the ego car.
        depth: also write metric depth of every image (float16 ``.npz``).
        instances: also write instance numbers of every image (16-bit PNG).
        jpeg_quality: quality of the images, 1 to 100.
    """

    scenes: int = 10
    seconds: float = 8.0
    sweep_rate: float = 4.0
    image_size: tuple[int, int] = (450, 800)
    seed: int = 0
    pedestrians: int = 40
    vehicles: int = 34
    depth: bool = False
    instances: bool = False
    jpeg_quality: int = 90

    def __post_init__(self) -> None:
        """Check the options.

        Raises:
            ConfigError: if an option is outside its range; names the option, value and range.
        """
        max_scenes = _OFFICIAL_TRAIN + _OFFICIAL_VAL
        checks = {
            f"scenes={self.scenes}: take 2 to {max_scenes}": 2 <= self.scenes <= max_scenes,
            f"seconds={self.seconds}: take 0.5 or more": (
                1 / KEYFRAME_RATE <= self.seconds < math.inf
            ),
            f"sweep_rate={self.sweep_rate}: take a multiple of {KEYFRAME_RATE:g} up to 20": (
                KEYFRAME_RATE <= self.sweep_rate <= 20 and self.sweep_rate % KEYFRAME_RATE == 0
            ),
            f"image_size={self.image_size}: take 32 pixels or more a side": (
                min(self.image_size) >= 32
            ),
            f"jpeg_quality={self.jpeg_quality}: take 1 to 100": 1 <= self.jpeg_quality <= 100,
            f"pedestrians={self.pedestrians}: take 0 or more": self.pedestrians >= 0,
            f"vehicles={self.vehicles}: take 0 or more": self.vehicles >= 0,
            f"seed={self.seed}: take 0 or more": self.seed >= 0,
        }
        for message, holds in checks.items():
            if not holds:
                raise ConfigError(message)

    @property
    def keyframes(self) -> int:
        """Number of keyframes (samples) per scene."""
        return int(self.seconds * KEYFRAME_RATE) + 1

    @property
    def images_per_keyframe(self) -> int:
        """Number of images per camera from a keyframe to just before the next."""
        return int(self.sweep_rate / KEYFRAME_RATE)

    @property
    def images_per_scene(self) -> int:
        """Number of images per scene, all six cameras together."""
        return 6 * ((self.keyframes - 1) * self.images_per_keyframe + 1)

    @property
    def version(self) -> str:
        """Version of nuScenes whose splits contain these scenes."""
        return "v1.0-mini" if self.scenes <= len(SCENE_CONDITIONS) else "v1.0-trainval"

    @property
    def scene_specs(self) -> tuple[SceneSpec, ...]:
        """The scenes, training scenes first."""
        if self.scenes > len(SCENE_CONDITIONS):
            return tuple(
                SceneSpec(name=name, condition=condition, number=number, seed=number)
                for number, (name, condition) in enumerate(
                    zip(self._trainval_names(), cycle(SCENE_CONDITIONS.values()), strict=False)
                )
            )
        num_val = 1 if self.scenes < 6 else 2
        names, sorted_names = list(SCENE_CONDITIONS), sorted(SCENE_CONDITIONS)
        chosen = names[: self.scenes - num_val] + names[_MINI_TRAIN : _MINI_TRAIN + num_val]
        return tuple(
            SceneSpec(
                name=name,
                condition=SCENE_CONDITIONS[name],
                number=names.index(name),
                seed=sorted_names.index(name),
            )
            for name in chosen
        )

    def _trainval_names(self) -> list[str]:
        """Return names of scenes of nuScenes' splits ``train`` and ``val``, in this order."""
        # Imported here because the devkit takes seconds to import and brings matplotlib.
        from nuscenes.utils.splits import create_splits_scenes

        official: dict[str, list[str]] = create_splits_scenes()
        num_val = round(self.scenes * _OFFICIAL_VAL / (_OFFICIAL_TRAIN + _OFFICIAL_VAL))
        return official["train"][: self.scenes - num_val] + official["val"][:num_val]
