"""Plausibility checks of a results file: frame of reference and headings.

A results file with boxes in the vehicle's or a camera's frame, or with headings of another
convention, has a valid format. It is recognised by its consequences: detections far from the
vehicle, or cars that drive backwards. A poor detector must pass, so a check fails only if most of
the boxes are wrong and another interpretation fits better.

Letters: S samples, A B two sets of points.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields

import numpy as np
from mmengine.logging import print_log

from drivemim.array_types import Floats, Ints
from drivemim.data.classes import CLASS_RANGES, DETECTION_CLASSES
from drivemim.errors import DataError
from drivemim.geometry import quaternion_to_matrix
from drivemim.geometry.camera_boxes import wrap_angles

RANGES = np.array([CLASS_RANGES[name] for name in DETECTION_CLASSES])
"""Distance in metres from the vehicle up to which the official evaluation counts each class."""
BEYOND_RANGE = 10.0
"""Metres. A box that is further from the vehicle than its class's range plus this margin is far."""
NOWHERE_NEAR = 100.0
"""Metres. A sample is refused if the median distance of its boxes from the vehicle is larger."""
MAX_HEIGHT = 8.0
"""Metres above or below the vehicle; a larger median height is implausible."""
_MIN_PAIRS = 20
"""Number of boxes that need a box of their class in the next sample. With fewer, it is not checked
whether boxes are in the vehicle's frame."""
_MIN_STEP = 1.0
"""Metres. Two samples are compared only if the vehicle moved at least this far between them."""
_FAST = 2.0
"""Metres per second above which an object must face its direction of motion."""
_MIN_FAST_BOXES = 10
"""Number of fast vehicles below which headings are not checked."""
_SMALL_ERROR = 15.0
"""Degrees. Headings whose mean error is at most this pass without a further check."""
_BETTER = 1 / 3
"""Headings are refused if another interpretation has less than this fraction of their error."""
_VEHICLES = [DETECTION_CLASSES.index(name) for name in ("car", "truck", "bus", "motorcycle")]


@dataclass(frozen=True, kw_only=True, eq=False)
class SamplePoses:
    """S samples of an evaluation and the vehicle's poses at the lidar's timestamps.

    Attributes:
        tokens: S strings.
        positions_S3: float64, metres, global frame.
        rotations_S4: float64, quaternions w x y z, vehicle to global.
        scenes_S: int64, number of the scene.
        timestamps_S: int64, microseconds.
    """

    tokens: Sequence[str]
    positions_S3: Floats
    rotations_S4: Floats
    scenes_S: Ints
    timestamps_S: Ints

    def __len__(self) -> int:
        return len(self.tokens)


@dataclass(frozen=True, kw_only=True, eq=False)
class ResultColumns:
    """M boxes of a results file, all finite.

    Attributes:
        samples_M: int64, position in ``SamplePoses``, ascending.
        labels_M: int64, position in ``DETECTION_CLASSES``.
        centers_M3: float64, metres, as in the file.
        rotations_M4: float64, quaternions w x y z, as in the file.
        velocities_M2: float64, metres per second, as in the file.
    """

    samples_M: Ints
    labels_M: Ints
    centers_M3: Floats
    rotations_M4: Floats
    velocities_M2: Floats

    def of_sample(self, sample: int) -> slice:
        """Return the rows of one sample's boxes."""
        start, end = np.searchsorted(self.samples_M, [sample, sample + 1])
        return slice(int(start), int(end))

    @classmethod
    def join(cls, parts: Sequence[ResultColumns]) -> ResultColumns:
        """Join the boxes of several parts."""
        return cls(
            **{
                each.name: np.concatenate([getattr(part, each.name) for part in parts])
                for each in fields(cls)
            }
        )


def check_frame_of_reference(boxes: ResultColumns, samples: SamplePoses) -> None:
    """Refuse boxes that are not in the global frame.

    The check looks for four signs. (1) Half of a sample's boxes are further than ``NOWHERE_NEAR``
    from the vehicle. (2) Most of a sample's boxes are beyond their class's range of the vehicle but
    within that range of the origin. (3) z is implausible as a height, while y is plausible as one
    and z as a depth. (4) Near the origin, boxes move with the vehicle from sample to sample instead
    of staying on the ground.

    Raises:
        DataError: if a sign is found; the message names a sample's token.
    """
    if len(boxes.samples_M) == 0:
        return
    offsets_M3 = boxes.centers_M3 - samples.positions_S3[boxes.samples_M]
    distance_M = np.linalg.norm(offsets_M3[:, :2], axis=1)
    far_M = distance_M > RANGES[boxes.labels_M] + BEYOND_RANGE
    central_M = np.linalg.norm(boxes.centers_M3[:, :2], axis=1) <= RANGES[boxes.labels_M]
    height_M = np.abs(offsets_M3[:, 2])
    for sample in np.unique(boxes.samples_M):
        rows = boxes.of_sample(sample)
        central = far_M[rows].mean() > 0.5 and central_M[rows].mean() > 0.5
        if central or np.median(distance_M[rows]) > NOWHERE_NEAR:
            _refuse_frame(samples, sample, float(np.median(distance_M[rows])), central)
    if np.median(height_M) > MAX_HEIGHT and _reads_as_camera(boxes):
        worst = boxes.samples_M[np.argmax(height_M)]
        raise DataError(
            f"sample {samples.tokens[worst]} has a box {height_M.max():.0f} m above or below the "
            f"vehicle, and half of all boxes are over {MAX_HEIGHT:.0f} m: translation must be in "
            "the global frame, whose z is up; these look like a camera's coordinates (z forward)"
        )
    if (sample := _follows_vehicle(boxes, samples)) is not None:
        raise DataError(
            f"boxes of sample {samples.tokens[sample]} and others keep their place relative to the "
            "vehicle and not on the ground while it moves: they look like vehicle coordinates; "
            "translation must be in the global frame"
        )


def _reads_as_camera(boxes: ResultColumns) -> bool:
    """Return whether the centres are plausible in a camera's frame: x right, y down, z forward.

    Half of the heights must be small, and 90 % of the boxes must be in front of the camera and
    within their class's range.
    """
    x_M, y_M, z_M = boxes.centers_M3.T
    in_view_M = (z_M > 0) & (np.hypot(x_M, z_M) <= RANGES[boxes.labels_M])
    return bool(np.median(np.abs(y_M)) <= MAX_HEIGHT and in_view_M.mean() > 0.9)


def _refuse_frame(samples: SamplePoses, sample: int, distance: float, central: bool) -> None:
    """Raise the error of a sample whose boxes are far from the vehicle.

    Args:
        samples: all samples.
        sample: position of the sample.
        distance: median distance of its boxes from the vehicle, metres.
        central: whether the boxes are around the origin of the global frame instead.
    """
    x, y, _ = samples.positions_S3[sample]
    hint = (
        "they lie around the origin instead: are they in the vehicle's or a camera's frame?"
        if central
        else "are they of another sample, or in another frame?"
    )
    raise DataError(
        f"the boxes of sample {samples.tokens[sample]} are {distance:.0f} m (median) from the "
        f"vehicle at ({x:.1f}, {y:.1f}) of the global frame, where translation must be; {hint}"
    )


def _follows_vehicle(boxes: ResultColumns, samples: SamplePoses) -> int | None:
    """Return a sample if its boxes stay in place only if they are read as vehicle coordinates.

    For pairs of consecutive samples, each box is compared with the nearest box of its class in the
    later sample: once as the numbers are, moved by the box's velocity, and once transformed from
    the vehicle's into the global frame. Boxes follow the vehicle if the second distance is less
    than half of the first (medians over all boxes). Traffic that keeps pace with the vehicle has a
    small first distance, because its velocity explains its motion.

    Returns:
        Position of the last sample compared; None if boxes do not follow the vehicle, are too few,
        or are not near the origin (fewer than 90 %).
    """
    central_M = np.linalg.norm(boxes.centers_M3[:, :2], axis=1) <= RANGES[boxes.labels_M]
    if central_M.mean() < 0.9:
        return None
    rotations_S22 = quaternion_to_matrix(samples.rotations_S4)[:, :2, :2]
    stated_M2 = boxes.centers_M3[:, :2]
    from_vehicle_M2 = np.einsum("mij,mj->mi", rotations_S22[boxes.samples_M], stated_M2)
    from_vehicle_M2 = from_vehicle_M2 + samples.positions_S3[boxes.samples_M, :2]
    as_stated, as_vehicle, last_compared = [], [], None
    order = np.lexsort((samples.timestamps_S, samples.scenes_S))
    for now, later in zip(order[:-1], order[1:], strict=True):
        step = np.linalg.norm(samples.positions_S3[later, :2] - samples.positions_S3[now, :2])
        if samples.scenes_S[now] != samples.scenes_S[later] or step < _MIN_STEP:
            continue
        first, second = boxes.of_sample(now), boxes.of_sample(later)
        seconds = 1e-6 * (samples.timestamps_S[later] - samples.timestamps_S[now])
        expected_M2 = stated_M2[first] + seconds * boxes.velocities_M2[first]
        for label in np.intersect1d(boxes.labels_M[first], boxes.labels_M[second]):
            one, two = (
                each.start + np.flatnonzero(boxes.labels_M[each] == label)
                for each in (first, second)
            )
            as_stated.append(_nearest(expected_M2[one - first.start], stated_M2[two]))
            as_vehicle.append(_nearest(from_vehicle_M2[one], from_vehicle_M2[two]))
            last_compared = int(now)
    if sum(map(len, as_stated)) < _MIN_PAIRS:
        return None
    medians = [np.median(np.concatenate(each)) for each in (as_stated, as_vehicle)]
    return last_compared if medians[1] < 0.5 * medians[0] else None


def _nearest(points_A2: Floats, others_B2: Floats) -> Floats:
    """Return the distance (A,) from each point to the nearest of the others."""
    distances_AB = np.linalg.norm(points_A2[:, None] - others_B2[None], axis=-1)
    nearest: Floats = distances_AB.min(axis=1)
    return nearest


def check_headings(boxes: ResultColumns, samples: SamplePoses) -> None:
    """Refuse headings that are turned, mirrored or in the vehicle's frame.

    Headings are compared with the velocities of fast vehicles. If both are in the vehicle's frame,
    they agree and pass.

    Raises:
        DataError: if the headings of fast vehicles do not match their velocities, and another
            interpretation of all headings or velocities has less than a third of the error.
    """
    speed_M = np.linalg.norm(boxes.velocities_M2, axis=1)
    fast = np.flatnonzero((speed_M > _FAST) & np.isin(boxes.labels_M, _VEHICLES))
    if len(fast) < _MIN_FAST_BOXES:
        if len(boxes.labels_M):
            print_log(
                f"headings were not checked: {len(fast)} vehicles are faster than {_FAST:.0f} m/s, "
                f"and it takes {_MIN_FAST_BOXES}",
                logger="current",
            )
        return
    front_M3 = quaternion_to_matrix(boxes.rotations_M4[fast])[:, :, 0]
    heading_M = np.arctan2(front_M3[:, 1], front_M3[:, 0])
    direction_M = np.arctan2(boxes.velocities_M2[fast, 1], boxes.velocities_M2[fast, 0])
    error_M = np.abs(wrap_angles(heading_M - direction_M))
    if error_M.mean() <= np.radians(_SMALL_ERROR):
        return
    forward_S2 = quaternion_to_matrix(samples.rotations_S4)[:, :2, 0]
    vehicle_M = np.arctan2(forward_S2[:, 1], forward_S2[:, 0])[boxes.samples_M[fast]]
    readings = {
        "rotation looks turned by 180 degrees": heading_M + np.pi,
        "rotation looks turned by 90 degrees to the left (or width and length are exchanged)":
            heading_M - np.pi / 2,
        "rotation looks turned by 90 degrees to the right (or width and length are exchanged)":
            heading_M + np.pi / 2,
        "rotation looks of the opposite sign": -heading_M,
        "rotation looks like the vehicle's frame": heading_M + vehicle_M,
        "velocity looks like the vehicle's frame": heading_M - vehicle_M,
    }  # fmt: skip
    errors = {
        name: float(np.abs(wrap_angles(reading_M - direction_M)).mean())
        for name, reading_M in readings.items()
    }
    best = min(errors, key=lambda name: errors[name])
    if errors[best] < _BETTER * error_M.mean():
        worst = samples.tokens[boxes.samples_M[fast[np.argmax(error_M)]]]
        raise DataError(
            f"in sample {worst} and others, vehicles faster than {_FAST:.0f} m/s do not head where "
            f"they go: {np.degrees(error_M.mean()):.0f} degrees off on average of {len(fast)}. "
            f"{best} ({np.degrees(errors[best]):.0f} degrees off so); both must be in the global "
            "frame, and a box's x axis must point to its front. If the detector itself errs so, "
            "switch this check off (headings=False)"
        )
