"""Ego motion: a route along the streets and a speed profile with stops and turns.

The junction's frame has its origin in the middle of the junction; x points along the street, in
the direction in which the ego car approaches the junction.

Letters: S distances along the route, P points of the route.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from drivemim.array_types import Floats
from drivemim.town.ground import LANE_OFFSET, NUM_STREETS, STREET_SPACING

TIME_STEP = 0.05  # of the simulation, seconds
TIME_MARGIN = 1.0  # simulated before and after the scene, seconds
LEAD_IN = 45.0  # length of the route before the ego car's start, metres
_POINT_SPACING = 0.1  # of the route's points, metres


@dataclass(frozen=True)
class Route:
    """A smooth path to drive along, with one point every 0.1 m.

    Attributes:
        points_P2: positions in metres, junction's frame.
        headings_P: radians, unwrapped.
    """

    points_P2: Floats
    headings_P: Floats

    def at(self, distances_S: Floats) -> tuple[Floats, Floats]:
        """Return positions (S, 2) and headings (S) at distances along the route, metres."""
        index = np.asarray(distances_S) / _POINT_SPACING
        grid = np.arange(len(self.points_P2))
        positions = np.stack(
            [np.interp(index, grid, self.points_P2[:, k]) for k in range(2)], axis=-1
        )
        return positions, np.interp(index, grid, self.headings_P)


@dataclass(frozen=True)
class DrivingPlan:
    """Driving plan of the ego car in one scene.

    Attributes:
        turn: -1 right, 0 straight on, 1 left.
        stop: time that the ego car waits at the stop line, seconds; 0 if it does not stop.
        speed: mean speed without turns and stops, metres per second.
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


def draw_plan(generator: np.random.Generator, number: int) -> DrivingPlan:
    """Sample the plan of the scene with this number.

    The turn depends on the number only; every scene with an odd number has a stop.
    """
    turn = (0, 1, -1)[number % 3]
    stop = float(generator.uniform(1.5, 2.5)) if number % 2 else 0.0
    start = float(generator.uniform(24, 32) if turn or stop else generator.uniform(30, 42))
    return DrivingPlan(turn, stop, float(generator.uniform(6.5, 9.0)), start)


def make_route(plan: DrivingPlan, length: float) -> Route:
    """Return the route through the junction at the origin, coming from negative x.

    Args:
        plan: start and turn of the route.
        length: least distance to cover after the start, metres.
    """
    first_x = -plan.start - LEAD_IN
    if plan.turn == 0:
        x = np.arange(first_x, length + 60, _POINT_SPACING)
        return Route(np.stack([x, np.full_like(x, -LANE_OFFSET)], -1), np.zeros_like(x))
    radius = 10.0 if plan.turn > 0 else 6.0
    arc_start = (LANE_OFFSET if plan.turn > 0 else -LANE_OFFSET) - radius
    straight = np.arange(first_x, arc_start, _POINT_SPACING)
    angles = np.arange(0, np.pi / 2, _POINT_SPACING / radius) * plan.turn
    exit_street = np.arange(_POINT_SPACING, length + 60, _POINT_SPACING)
    arc = np.stack(
        [
            arc_start + radius * np.sin(np.abs(angles)),
            -LANE_OFFSET + plan.turn * radius * (1 - np.cos(angles)),
        ],
        -1,
    )
    end = np.array([arc_start + radius, -LANE_OFFSET + plan.turn * radius])
    points = np.concatenate(
        [
            np.stack([straight, np.full_like(straight, -LANE_OFFSET)], -1),
            arc,
            end + np.stack([np.zeros_like(exit_street), plan.turn * exit_street], -1),
        ]
    )
    headings = np.concatenate(
        [np.zeros_like(straight), angles, np.full_like(exit_street, plan.turn * np.pi / 2)]
    )
    return Route(points, headings)


def simulation_times(seconds: float) -> Floats:
    """Return the times at which motion is simulated, with a margin before and after the scene."""
    return np.arange(round((seconds + 2 * TIME_MARGIN) / TIME_STEP) + 1) * TIME_STEP - TIME_MARGIN


def ego_distances(plan: DrivingPlan, seconds: float) -> Floats:
    """Return the ego car's distance along the route at all ``simulation_times``, metres."""
    # Literals below are metres, metres per second and metres per second squared.
    distance, waited = LEAD_IN, 0.0
    speed = plan.speed * 0.9
    # Where the rear axle stops: the front of the car is then before the stop line.
    stop_line = LEAD_IN + plan.start - 14.5
    turn_start = LEAD_IN + plan.start - 12.0
    distances = []
    for time in simulation_times(seconds):
        distances.append(distance)
        target = plan.speed * (1 + 0.15 * np.sin(0.9 * time + plan.start))
        if plan.turn and abs(distance - turn_start - 8) < 13:
            target = min(target, 4.5)
        stopping = plan.stop > 0 and waited < plan.stop and distance < stop_line + 0.5
        if stopping:
            target = min(target, np.sqrt(2 * 2.2 * max(stop_line - distance, 0.0)))
            if target < 0.6:
                target, waited = 0.0, waited + TIME_STEP * (speed == 0.0)
        speed = max(speed + float(np.clip((target - speed) / 0.3, -4.5, 2.2)) * TIME_STEP, 0.0)
        if target == 0.0 and speed < 0.25:
            speed = 0.0
        distance += speed * TIME_STEP
    return np.array(distances)


def draw_junction(generator: np.random.Generator) -> tuple[Floats, float]:
    """Sample a junction inside the town: its middle (metres) and the heading of the approach."""
    column, row = generator.integers(1, NUM_STREETS - 1, 2)
    center = (np.array([column, row]) + 0.5) * STREET_SPACING
    return center, float(generator.integers(4)) * np.pi / 2
