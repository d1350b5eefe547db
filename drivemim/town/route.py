"""Ego motion: a route along the streets and a speed profile with stops and turns."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from drivemim.town.ground import LANE, STREET_SPACING, STREETS
from drivemim.town.quads import Floats

TIME_STEP = 0.05
TIME_MARGIN = 1.0
LEAD_IN = 45.0


@dataclass(frozen=True)
class Route:
    """A smooth line to drive along, one point every 0.1 m.

    Attributes:
        points_P2: positions in metres, junction's frame.
        headings_P: radians, unwrapped.
    """

    points_P2: Floats
    headings_P: Floats

    def at(self, distances_S: Floats) -> tuple[Floats, Floats]:
        """Return positions (S, 2) and headings (S) at distances along the route, metres."""
        index = np.asarray(distances_S) / 0.1
        grid = np.arange(len(self.points_P2))
        positions = np.stack(
            [np.interp(index, grid, self.points_P2[:, k]) for k in range(2)], axis=-1
        )
        return positions, np.interp(index, grid, self.headings_P)


@dataclass(frozen=True)
class Plan:
    """Driving plan of the ego car in one scene.

    Attributes:
        turn: -1 right, 0 straight on, 1 left.
        stop: seconds that it waits at the stop line; 0 drives through.
        speed: metres per second where nothing slows it down.
        start: distance from the junction's middle at the start, metres.
    """

    turn: int
    stop: float
    speed: float
    start: float

    @property
    def description(self) -> str:
        """Part of the scene's description."""
        words = {-1: "turn right", 0: "straight road", 1: "turn left"}[self.turn]
        return f"{words}, wait at intersection" if self.stop else words


def draw_plan(generator: np.random.Generator, number: int) -> Plan:
    """Draw the plan of the scene with this number: turns and stops alternate."""
    turn = (0, 1, -1)[number % 3]
    stop = float(generator.uniform(1.5, 2.5)) if number % 2 else 0.0
    start = float(generator.uniform(24, 32) if turn or stop else generator.uniform(30, 42))
    return Plan(turn, stop, float(generator.uniform(6.5, 9.0)), start)


def make_route(plan: Plan, length: float) -> Route:
    """Return the route through the junction at the origin, coming from negative x.

    Args:
        plan: start and turn of the route.
        length: least distance to cover after the start, metres.
    """
    step = 0.1
    first = -plan.start - LEAD_IN
    if plan.turn == 0:
        x = np.arange(first, length + 60, step)
        return Route(np.stack([x, np.full_like(x, -LANE)], -1), np.zeros_like(x))
    radius = 10.0 if plan.turn > 0 else 6.0
    begin = (LANE if plan.turn > 0 else -LANE) - radius
    straight = np.arange(first, begin, step)
    angles = np.arange(0, np.pi / 2, step / radius) * plan.turn
    leave = np.arange(step, length + 60, step)
    arc = np.stack(
        [
            begin + radius * np.sin(np.abs(angles)),
            -LANE + plan.turn * radius * (1 - np.cos(angles)),
        ],
        -1,
    )
    end = np.array([begin + radius, -LANE + plan.turn * radius])
    points = np.concatenate(
        [
            np.stack([straight, np.full_like(straight, -LANE)], -1),
            arc,
            end + np.stack([np.zeros_like(leave), plan.turn * leave], -1),
        ]
    )
    headings = np.concatenate(
        [np.zeros_like(straight), angles, np.full_like(leave, plan.turn * np.pi / 2)]
    )
    return Route(points, headings)


def simulation_times(seconds: float) -> Floats:
    """Return the times at which motion is simulated, with a margin before and after the scene."""
    return np.arange(round((seconds + 2 * TIME_MARGIN) / TIME_STEP) + 1) * TIME_STEP - TIME_MARGIN


def ego_distances(plan: Plan, seconds: float) -> Floats:
    """Return the distance along the route at every time of ``simulation_times``, metres."""
    distance, waited = LEAD_IN, 0.0
    speed = plan.speed * 0.9
    line = LEAD_IN + plan.start - 14.5
    bend = LEAD_IN + plan.start - 12.0
    distances = []
    for time in simulation_times(seconds):
        distances.append(distance)
        target = plan.speed * (1 + 0.15 * np.sin(0.9 * time + plan.start))
        if plan.turn and abs(distance - bend - 8) < 13:
            target = min(target, 4.5)
        stopping = plan.stop > 0 and waited < plan.stop and distance < line + 0.5
        if stopping:
            target = min(target, np.sqrt(2 * 2.2 * max(line - distance, 0.0)))
            if target < 0.6:
                target, waited = 0.0, waited + TIME_STEP * (speed == 0.0)
        speed = max(speed + float(np.clip((target - speed) / 0.3, -4.5, 2.2)) * TIME_STEP, 0.0)
        if target == 0.0 and speed < 0.25:
            speed = 0.0
        distance += speed * TIME_STEP
    return np.array(distances)


def draw_junction(generator: np.random.Generator) -> tuple[Floats, float]:
    """Draw a junction inside the town: its middle (metres) and the heading of the approach."""
    column, row = generator.integers(1, STREETS - 1, 2)
    centre = (np.array([column, row]) + 0.5) * STREET_SPACING
    return centre, float(generator.integers(4)) * np.pi / 2
