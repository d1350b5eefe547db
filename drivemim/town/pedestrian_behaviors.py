"""Random pedestrians for a ``SceneBuilder`` to accept or reject: walking, standing, crossing."""

from __future__ import annotations

import numpy as np

from drivemim.town.ground import CROSSING
from drivemim.town.scene_builder import SceneBuilder
from drivemim.town.tracks import Size, Track


def pavement_pedestrian(builder: SceneBuilder) -> list[Track]:
    """Propose a pedestrian who walks along a pavement or stands on it."""
    kind, size = _sample_pedestrian(builder)
    street, near, far = builder.street(4.0, 58.0)
    left = builder.side() * float(builder.generator.uniform(7.0, 9.3))
    start = float(builder.generator.uniform(near, far))
    if builder.generator.random() < 0.3:
        yaw = float(builder.generator.uniform(-np.pi, np.pi))
        return [
            Track(kind, size, builder.street_points(street, start, left), builder.constant_yaw(yaw))
        ]
    outward = bool(builder.generator.random() < 0.5)
    speed = float(builder.generator.uniform(0.8, 1.7)) * (1 if outward else -1)
    offset = left + 0.15 * np.sin(0.8 * builder.times_S + start)
    positions = builder.street_points(
        street, start + speed * (builder.times_S - builder.times_S.mean()), offset
    )
    return [
        Track(kind, size, positions, builder.constant_yaw(street if outward else street + np.pi))
    ]


def crossing_pedestrian(builder: SceneBuilder) -> list[Track]:
    """Propose a pedestrian who starts to cross a street at some time, on or off the crossing."""
    kind, size = _sample_pedestrian(builder)
    street, near, far = builder.street(7.0, 45.0)
    if builder.generator.random() < 0.55:
        along = float(builder.generator.uniform(*CROSSING))
    else:
        along = float(builder.generator.uniform(near, far))
    side = builder.side()
    speed = float(builder.generator.uniform(1.0, 1.9))
    start_time = float(builder.generator.uniform(-6.0, builder.times_S[-1] - 1))
    kerb = float(builder.generator.uniform(6.3, 7.4))
    left = side * (kerb - np.clip(speed * (builder.times_S - start_time), 0, kerb + 8.0))
    position = along + 0.1 * np.sin(left)
    yaw = street - side * np.pi / 2
    return [
        Track(kind, size, builder.street_points(street, position, left), builder.constant_yaw(yaw))
    ]


def _sample_pedestrian(builder: SceneBuilder) -> tuple[str, Size]:
    """Sample the kind and size of a pedestrian."""
    kind = str(builder.generator.choice(["adult", "child", "worker"], p=[0.82, 0.12, 0.06]))
    height = float(builder.generator.normal(1.74, 0.08) if kind != "child" else 1.2)
    return kind, (0.4 * height, 0.4 * height, height)
