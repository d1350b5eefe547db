"""Simulate a spinning 32-beam lidar: rays cast against the scene's quads and ground.

Letters: R rings, C columns, P points, M quads or boxes.
"""

from __future__ import annotations

import numpy as np

from drivemim.array_types import Floats, Floats32, Ints
from drivemim.town.ground import Ground
from drivemim.town.quads import Quads, TextureBank

RINGS, COLUMNS = 32, 1080
MAX_RANGE = 75.0  # metres
_MIN_ELEVATION, _MAX_ELEVATION = np.radians(-30.0), np.radians(10.5)
_QUAD_REFLECTIVITY, _GROUND_REFLECTIVITY = 0.4, 0.2  # intensity per grey level of the texture


def cast_lidar(
    quads: Quads, bank: TextureBank, ground: Ground, position_3: Floats, rotation_33: Floats
) -> tuple[Floats32, Ints]:
    """Simulate one revolution of the scanner.

    Args:
        quads: quads in the world frame.
        bank: their textures; rays pass through transparent pixels.
        ground: the plane z = 0 and its texture.
        position_3: position of the scanner in the world frame, metres.
        rotation_33: rotation from scanner axes to the world.

    Returns:
        Points (P, 5) in nuScenes' layout: x, y, z in metres in the scanner's frame, intensity
        0 to 255 and ring number; and the instance id of each point (P).
    """
    scan = _Scan()
    _cast_ground(scan, ground, position_3, rotation_33)
    _cast_quads(scan, _to_scanner(quads, position_3, rotation_33), bank)
    hit = scan.ranges_RC < MAX_RANGE
    points = scan.rays_RC3[hit] * scan.ranges_RC[hit][:, None]
    ring = np.broadcast_to(np.arange(RINGS)[:, None], hit.shape)[hit]
    cloud = np.concatenate([points, scan.intensity_RC[hit][:, None], ring[:, None]], axis=1)
    return cloud.astype(np.float32), scan.instance_id_RC[hit]


class _Scan:
    """Rays of one revolution, and the nearest hit of each so far.

    Attributes:
        elevations: elevations of the rings, radians.
        rays_RC3: unit directions in the scanner's frame.
        ranges_RC: distance to the hit, metres; inf without a hit.
        intensity_RC: intensity of the hit, 0 to 255.
        instance_id_RC: instance id of the hit, 0 for the ground and the static quads.
    """

    def __init__(self) -> None:
        self.elevations = np.linspace(_MIN_ELEVATION, _MAX_ELEVATION, RINGS)
        azimuths = (np.arange(COLUMNS) + 0.5) / COLUMNS * 2 * np.pi - np.pi
        horizontal = np.cos(self.elevations)[:, None]
        self.rays_RC3 = np.stack(
            [
                horizontal * np.cos(azimuths),
                horizontal * np.sin(azimuths),
                np.broadcast_to(np.sin(self.elevations)[:, None], (RINGS, COLUMNS)),
            ],
            -1,
        )
        self.ranges_RC = np.full((RINGS, COLUMNS), np.inf)
        self.intensity_RC = np.zeros((RINGS, COLUMNS))
        self.instance_id_RC = np.zeros((RINGS, COLUMNS), np.int64)


def _cast_quads(scan: _Scan, quads: Quads, bank: TextureBank) -> None:
    """Intersect the rays with quads in the scanner's frame, the nearest first."""
    numbers_RC2 = np.moveaxis(np.indices((RINGS, COLUMNS)), 0, -1)
    normals_M3 = np.cross(quads.right_M3, quads.down_M3)
    offsets_M = (normals_M3 * quads.corner_M3).sum(-1)
    corners_M43 = quads.corners()
    nearest_M = _nearest_distance(quads)
    in_view = (
        (nearest_M < MAX_RANGE) & (quads.two_sided_M | (offsets_M > 0)) & (np.abs(offsets_M) > 1e-9)
    )
    quads_in_view = np.flatnonzero(in_view)
    for row in quads_in_view[np.argsort(nearest_M[quads_in_view], kind="stable")]:
        block = _ray_block(corners_M43[row], scan.elevations)
        if block is None:
            continue
        current = scan.ranges_RC[block]
        if current.max() <= nearest_M[row]:
            continue
        rays = scan.rays_RC3[block]
        with np.errstate(divide="ignore", invalid="ignore"):
            range_ = offsets_M[row] / (rays @ normals_M3[row])
        rows, cols = np.nonzero((range_ > 0.5) & (range_ < np.minimum(current, MAX_RANGE)))
        if len(rows) == 0:
            continue
        hits = rays[rows, cols] * range_[rows, cols, None] - quads.corner_M3[row]
        across = hits @ quads.right_M3[row] / (quads.right_M3[row] ** 2).sum()
        down = hits @ quads.down_M3[row] / (quads.down_M3[row] ** 2).sum()
        inside = (across >= 0) & (across <= 1) & (down >= 0) & (down <= 1)
        rows, cols, across, down = rows[inside], cols[inside], across[inside], down[inside]
        image = bank[int(quads.texture_M[row])].levels[0]
        texels = image[
            np.minimum((down * image.shape[0]).astype(int), image.shape[0] - 1),
            np.minimum((across * image.shape[1]).astype(int), image.shape[1] - 1),
        ]
        opaque = texels[:, 3] >= 128
        rings, columns = numbers_RC2[block][rows[opaque], cols[opaque]].T
        scan.ranges_RC[rings, columns] = range_[rows[opaque], cols[opaque]]
        scan.intensity_RC[rings, columns] = texels[opaque, :3].mean(axis=1) * _QUAD_REFLECTIVITY
        scan.instance_id_RC[rings, columns] = quads.instance_id_M[row]


def _to_scanner(quads: Quads, position_3: Floats, rotation_33: Floats) -> Quads:
    """Return quads in the scanner's frame."""
    return Quads(
        (quads.corner_M3 - position_3) @ rotation_33,
        quads.right_M3 @ rotation_33,
        quads.down_M3 @ rotation_33,
        quads.texture_M,
        quads.instance_id_M,
        quads.two_sided_M,
    )


def _nearest_distance(quads: Quads) -> Floats:
    """Return the distance from the scanner to each quad, metres."""
    nearest_offsets = []
    for side_M3 in (quads.right_M3, quads.down_M3):
        along = -(quads.corner_M3 * side_M3).sum(-1) / (side_M3**2).sum(-1)
        nearest_offsets.append(np.clip(along, 0, 1)[:, None] * side_M3)
    return np.asarray(
        np.linalg.norm(quads.corner_M3 + nearest_offsets[0] + nearest_offsets[1], axis=1)
    )


def _ray_block(corners_43: Floats, elevations: Floats) -> tuple[slice, slice | Ints] | None:
    """Return rings and columns of the rays that can hit a quad, or None if there are none."""
    azimuths = np.arctan2(corners_43[:, 1], corners_43[:, 0])
    relative = (azimuths - azimuths[0] + np.pi) % (2 * np.pi) - np.pi
    first, last = azimuths[0] + relative.min(), azimuths[0] + relative.max()
    step = 2 * np.pi / COLUMNS
    begin = int(np.floor((first + np.pi) / step))
    end = int(np.ceil((last + np.pi) / step)) + 1
    columns: slice | Ints = slice(begin, end)
    if begin < 0 or end > COLUMNS:
        columns = np.arange(begin, end) % COLUMNS
    middles = np.concatenate([corners_43, (corners_43 + np.roll(corners_43, 1, axis=0)) / 2])
    elevations_8 = np.arctan2(middles[:, 2], np.linalg.norm(middles[:, :2], axis=1))
    # Along an edge, the elevation can exceed the sampled ones: the more so, the wider the quad.
    margin = 0.02 + 0.5 * (last - first) * float(np.ptp(elevations_8) > 0)
    low = int(np.searchsorted(elevations, elevations_8.min() - margin))
    high = int(np.searchsorted(elevations, elevations_8.max() + margin))
    if high <= low:
        return None
    return slice(low, high), columns


def _cast_ground(scan: _Scan, ground: Ground, position_3: Floats, rotation_33: Floats) -> None:
    """Intersect the downward rays with the plane z = 0."""
    world_RC3 = scan.rays_RC3 @ rotation_33.T
    downward = world_RC3[..., 2] < -1e-3
    scan.ranges_RC[downward] = -position_3[2] / world_RC3[..., 2][downward]
    hits = position_3[:2] + world_RC3[downward][:, :2] * scan.ranges_RC[downward][:, None]
    image = ground.texture.levels[min(2, len(ground.texture.levels) - 1)]
    fraction = (hits - ground.low_2) / ground.size_2
    column = np.clip(fraction[:, 0] * image.shape[1], 0, image.shape[1] - 1).astype(int)
    row = np.clip((1 - fraction[:, 1]) * image.shape[0], 0, image.shape[0] - 1).astype(int)
    scan.intensity_RC[downward] = image[row, column, :3].mean(axis=1) * _GROUND_REFLECTIVITY


def count_points(points_P3: Floats, centers_M3: Floats, sizes_M3: Floats, yaws_M: Floats) -> Ints:
    """Count the points inside upright boxes, borders included.

    Args:
        points_P3: metres, in the boxes' frame.
        centers_M3: metres.
        sizes_M3: width, length, height in metres.
        yaws_M: radians.
    """
    counts = np.zeros(len(centers_M3), np.int64)
    sorted_P3 = points_P3[np.argsort(points_P3[:, 0], kind="stable")]
    reach_M = np.hypot(sizes_M3[:, 0], sizes_M3[:, 1]) / 2 + 0.01
    first_M = np.searchsorted(sorted_P3[:, 0], centers_M3[:, 0] - reach_M)
    last_M = np.searchsorted(sorted_P3[:, 0], centers_M3[:, 0] + reach_M)
    for row, (center, size, yaw) in enumerate(zip(centers_M3, sizes_M3, yaws_M, strict=True)):
        offset = sorted_P3[first_M[row] : last_M[row]] - center
        forward = offset[:, 0] * np.cos(yaw) + offset[:, 1] * np.sin(yaw)
        left = offset[:, 1] * np.cos(yaw) - offset[:, 0] * np.sin(yaw)
        inside = (np.abs(forward) <= size[1] / 2) & (np.abs(left) <= size[0] / 2)
        counts[row] = int((inside & (np.abs(offset[:, 2]) <= size[2] / 2)).sum())
    return counts
