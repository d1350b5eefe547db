"""Training targets of the 3-D head: assignment of 3-D objects to locations of the feature maps.

Paper: FCOS3D, Wang et al. 2021, https://arxiv.org/abs/2104.10956. An object's size in the image
decides its pyramid level. The distance to its projected centre decides its locations on this level.

Letters: L locations of all levels, M objects, P positives (locations with an assigned object).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from drivemim.models.heads.ignoring import inside_any
from drivemim.models.heads.mono3d_coder import Mono3DCoder, Objects3D, project


@dataclass(frozen=True, eq=False)
class Locations:
    """The locations of a pyramid: the centres of all positions of its maps.

    Attributes:
        points_L2: x and y, pixels of the network's input.
        strides_L: pixels between neighbouring locations.
        levels_L: int64, 0 for the finest.
    """

    points_L2: Tensor
    strides_L: Tensor
    levels_L: Tensor


@dataclass(frozen=True, eq=False)
class ImageTargets:
    """Training targets of one image.

    Attributes:
        labels_L: int64, class of each location's object; the number of classes for background.
        counted_L: bool, False for locations without classification loss.
        positives_P: int64, indices of the locations with an object.
        objects_P: int64, index of the object of each of these locations.
        centerness_P: in (0, 1], decreases with the distance from the point that the object's
            locations are around; see ``LocationAssigner``.
        codes_P10: see ``Mono3DCoder``; NaN for unknown velocities.
        directions_P: 0.0 or 1.0, see ``Mono3DCoder``.
        attributes_P: int64, -1 if unknown.
    """

    labels_L: Tensor
    counted_L: Tensor
    positives_P: Tensor
    objects_P: Tensor
    centerness_P: Tensor
    codes_P10: Tensor
    directions_P: Tensor
    attributes_P: Tensor


@dataclass(frozen=True, kw_only=True)
class LocationAssigner:
    """Assigns to every object the locations near its centre, and at least one.

    An object's level is the one that suits the longer side of its 2-D box. Its locations are around
    its projected centre or, if that is outside the 2-D box, around the nearest point of the box; so
    an object cut off by the image border has locations too. All distances are to this point. A
    location near several objects gets the nearest one; of equally near ones, the one nearer to the
    camera.

    Attributes:
        level_limits: longest side in pixels for each level but the last, ascending.
        center_radius: radius, in strides, around this point in which locations are assigned.
        min_depth: metres; an object whose centre is nearer, or behind the camera, cannot be
            projected. It is ignored; another camera usually sees its centre.
        centerness_decay: the centre-ness is ``exp(-centerness_decay * distance ** 2)``, with the
            distance in strides.
    """

    level_limits: tuple[float, ...]
    center_radius: float
    min_depth: float
    centerness_decay: float

    def encodable(self, centers_M3: Tensor) -> Tensor:
        """Return bool (M,), whether the head can encode the position of each object."""
        return centers_M3.isfinite().all(dim=1) & (centers_M3[:, 2] >= self.min_depth)

    def assign(
        self, locations: Locations, centers_M3: Tensor, boxes_M4: Tensor, camera_matrix_33: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Assign an object to each location.

        Args:
            locations: locations of the whole pyramid.
            centers_M3: metres, camera frame; all encodable.
            boxes_M4: 2-D boxes of their visible parts, pixels of the network's input.
            camera_matrix_33: intrinsics for those pixels.

        Returns:
            objects (L,) int64, -1 for none; and distances (L,) in strides to the point that the
            object's locations are around.
        """
        count = len(locations.points_L2)
        objects_L = locations.levels_L.new_full((count,), -1)
        if len(centers_M3) == 0:
            return objects_L, locations.points_L2.new_zeros(count)
        # Nearest to the camera first: every tie below goes to the first.
        order_M = centers_M3[:, 2].argsort(stable=True)
        boxes_M4 = boxes_M4[order_M]
        middles_M2 = project(centers_M3[order_M], camera_matrix_33)
        middles_M2 = torch.minimum(torch.maximum(middles_M2, boxes_M4[:, :2]), boxes_M4[:, 2:])
        offsets_LM2 = locations.points_L2[:, None] - middles_M2
        distances_LM = offsets_LM2.norm(dim=-1) / locations.strides_L[:, None]
        levels_M = self._levels(boxes_M4)
        is_same_level_LM = locations.levels_L[:, None] == levels_M
        distances_LM = distances_LM.masked_fill(~is_same_level_LM, torch.inf)

        nearest_L = distances_LM.argmin(dim=1)
        is_near_L = distances_LM.amin(dim=1) <= self.center_radius
        objects_L = torch.where(is_near_L, nearest_L, objects_L)
        matched_location_M = _one_location_each(distances_LM)
        matched_objects = (matched_location_M >= 0).nonzero().squeeze(1)
        objects_L[matched_location_M[matched_objects]] = matched_objects
        distances_L = distances_LM.gather(1, objects_L.clamp(min=0)[:, None]).squeeze(1)
        return torch.where(objects_L >= 0, order_M[objects_L.clamp(min=0)], -1), distances_L

    def _levels(self, boxes_M4: Tensor) -> Tensor:
        """Return the pyramid level of each object, from the longer side of its 2-D box."""
        longest_M = (boxes_M4[:, 2:] - boxes_M4[:, :2]).amax(dim=1)
        return torch.bucketize(longest_M, boxes_M4.new_tensor(self.level_limits))


def image_targets(
    assigner: LocationAssigner,
    coder: Mono3DCoder,
    locations: Locations,
    *,
    objects: Objects3D,
    boxes_M4: Tensor,
    labels_M: Tensor,
    attributes_M: Tensor,
    ignored_boxes: Tensor,
    camera_matrix_33: Tensor,
) -> ImageTargets:
    """Compute the training targets of one image.

    Args:
        assigner: assigns objects to locations.
        coder: encodes pairs of object and location.
        locations: locations of the whole pyramid.
        objects: M objects.
        boxes_M4: 2-D boxes of their visible parts, pixels of the network's input.
        labels_M: int64, their classes.
        attributes_M: int64, -1 if unknown.
        ignored_boxes: (.., 4), boxes in which background is not trained. The boxes of objects that
            cannot be encoded are added.
        camera_matrix_33: intrinsics for pixels of the network's input.
    """
    encodable_M = assigner.encodable(objects.centers_M3)
    rows_M = encodable_M.nonzero().squeeze(1)
    ignored_boxes = torch.cat([ignored_boxes, boxes_M4[~encodable_M]])
    objects_L, distances_L = assigner.assign(
        locations, objects.centers_M3[rows_M], boxes_M4[rows_M], camera_matrix_33
    )
    positives_P = (objects_L >= 0).nonzero().squeeze(1)
    objects_P = rows_M[objects_L[positives_P]]
    labels_P = labels_M[objects_P]
    labels_L = torch.full_like(objects_L, len(coder.class_sizes))
    labels_L[positives_P] = labels_P
    codes_P10, directions_P = coder.encode(
        objects[objects_P],
        labels_M=labels_P,
        points_M2=locations.points_L2[positives_P],
        strides_M=locations.strides_L[positives_P],
        camera_matrix_33=camera_matrix_33,
    )
    return ImageTargets(
        labels_L=labels_L,
        counted_L=(objects_L >= 0) | ~inside_any(locations.points_L2, ignored_boxes),
        positives_P=positives_P,
        objects_P=objects_P,
        centerness_P=(-assigner.centerness_decay * distances_L[positives_P] ** 2).exp(),
        codes_P10=codes_P10,
        directions_P=directions_P,
        attributes_P=attributes_M[objects_P],
    )


def pyramid_locations(priors: Sequence[Tensor]) -> Locations:
    """Convert MMDetection's point priors, per level (n, 4): x y stride stride, to locations."""
    levels = [
        torch.full((len(each),), level, device=each.device) for level, each in enumerate(priors)
    ]
    joined_L4 = torch.cat(list(priors))
    return Locations(joined_L4[:, :2], joined_L4[:, 2], torch.cat(levels))


def _one_location_each(distances_LM: Tensor) -> Tensor:
    """Match every object to one location; -1 for objects left without one.

    This is stable matching (Gale and Shapley 1962). Every object proposes to its nearest location.
    A location accepts the nearest object, of equally near ones the first; the others propose to
    their next location, until no object is rejected. If a level has enough locations, all of its
    objects get one.

    Args:
        distances_LM: distances of locations and objects; infinite on other levels.
    """
    distances_LM = distances_LM.clone()
    rows_M = torch.arange(distances_LM.shape[1], device=distances_LM.device)
    is_earlier_MM = rows_M < rows_M[:, None]
    while True:
        proposed_M = distances_LM.argmin(dim=0)
        distance_M = distances_LM.gather(0, proposed_M[None]).squeeze(0)
        is_equal_MM = distance_M == distance_M[:, None]
        is_preferred_MM = (distance_M < distance_M[:, None]) | (is_equal_MM & is_earlier_MM)
        is_rival_MM = (proposed_M == proposed_M[:, None]) & is_preferred_MM
        rejected = (is_rival_MM.any(dim=1) & distance_M.isfinite()).nonzero().squeeze(1)
        if len(rejected) == 0:
            return torch.where(distance_M.isfinite(), proposed_M, -1)
        distances_LM[proposed_M[rejected], rejected] = torch.inf
