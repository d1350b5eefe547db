"""Proposals of pedestrians: walking, standing and crossing."""

from __future__ import annotations

import numpy as np

from drivemim.town.crowd import Crowd
from drivemim.town.ground import CROSSING
from drivemim.town.tracks import Size, Track


def passer_by(crowd: Crowd) -> list[Track]:
    """Propose a pedestrian who walks along a pavement or stands on it."""
    kind, size = _person(crowd)
    arm, near, far = crowd.arm(4.0, 58.0)
    left = crowd.side() * float(crowd.random.uniform(7.0, 9.3))
    start = float(crowd.random.uniform(near, far))
    if crowd.random.random() < 0.3:
        yaw = float(crowd.random.uniform(-np.pi, np.pi))
        return [Track(kind, size, crowd.place(arm, start, left), crowd.constant(yaw))]
    outward = bool(crowd.random.random() < 0.5)
    speed = float(crowd.random.uniform(0.8, 1.7)) * (1 if outward else -1)
    sway = left + 0.15 * np.sin(0.8 * crowd.times_S + start)
    places = crowd.place(arm, start + speed * (crowd.times_S - crowd.times_S.mean()), sway)
    return [Track(kind, size, places, crowd.constant(arm if outward else arm + np.pi))]


def crosser(crowd: Crowd) -> list[Track]:
    """Propose a pedestrian who starts to cross a street at some time, on or off the crossing."""
    kind, size = _person(crowd)
    arm, near, far = crowd.arm(7.0, 45.0)
    if crowd.random.random() < 0.55:
        along = float(crowd.random.uniform(*CROSSING))
    else:
        along = float(crowd.random.uniform(near, far))
    side = crowd.side()
    speed = float(crowd.random.uniform(1.0, 1.9))
    begin = float(crowd.random.uniform(-6.0, crowd.times_S[-1] - 1))
    kerb = float(crowd.random.uniform(6.3, 7.4))
    left = side * (kerb - np.clip(speed * (crowd.times_S - begin), 0, kerb + 8.0))
    drift = along + 0.1 * np.sin(left)
    yaw = arm - side * np.pi / 2
    return [Track(kind, size, crowd.place(arm, drift, left), crowd.constant(yaw))]


def _person(crowd: Crowd) -> tuple[str, Size]:
    kind = str(crowd.random.choice(["adult", "child", "worker"], p=[0.82, 0.12, 0.06]))
    height = float(crowd.random.normal(1.74, 0.08) if kind != "child" else 1.2)
    return kind, (0.4 * height, 0.4 * height, height)
