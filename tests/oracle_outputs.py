"""Oracle outputs of a 3-D head: the outputs of a perfect network.

The head must decode them to the ground truth again. This tests that targets, decoding and all later
steps are exact.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from mmdet.models.utils import unpack_gt_instances
from mmengine.structures import InstanceData
from torch import Tensor

from drivemim.models.heads.mono3d_head import Mono3DHead
from drivemim.models.heads.mono3d_targets import ImageTargets

_SURE = 20.0
"""A logit whose sigmoid is 0 or 1 to eight digits."""


def oracle_outputs(
    head: Mono3DHead, batch_data_samples: Sequence[InstanceData], sizes: Sequence[tuple[int, int]]
) -> tuple[list[Tensor], ...]:
    """Compute outputs of ``head.forward`` that decode to the samples' ``gt_instances``.

    Args:
        head: head that defines the targets.
        batch_data_samples: samples as for the head's ``loss``.
        sizes: height and width of the map of each level.

    Returns:
        class scores, codes, directions, attributes and centre-ness, a list of maps each. An unknown
        velocity becomes 0; the logits of an unknown attribute are all 0.
    """
    objects, ignored, metas = unpack_gt_instances(batch_data_samples)
    locations = head.locations(sizes)
    outputs = [
        _image_outputs(head, targets)
        for targets in head.get_targets(locations, objects, metas, ignored)
    ]
    lengths = [height * width for height, width in sizes]
    return tuple(
        [
            flat_BLC.transpose(1, 2).reshape(len(flat_BLC), -1, *size)
            for flat_BLC, size in zip(
                torch.split(torch.stack(output), lengths, dim=1), sizes, strict=True
            )
        ]
        for output in zip(*outputs, strict=True)
    )


def _image_outputs(head: Mono3DHead, targets: ImageTargets) -> tuple[Tensor, ...]:
    """Return the five outputs for one image, (L, channels) each."""
    rows, count = targets.positives_P, len(targets.labels_L)
    codes_P10 = targets.codes_P10.nan_to_num()
    scores_LC = codes_P10.new_full((count, head.num_classes), -_SURE)
    scores_LC[rows, targets.labels_L[rows]] = _SURE
    codes_L10 = codes_P10.new_zeros((count, codes_P10.shape[1]))
    codes_L10[rows] = codes_P10
    directions_L1 = codes_P10.new_zeros((count, 1))
    directions_L1[rows, 0] = _SURE * (2 * targets.directions_P - 1)
    attributes_LA = codes_P10.new_zeros((count, head.num_attributes))
    known_P = targets.attributes_P >= 0
    attributes_LA[rows[known_P], targets.attributes_P[known_P]] = _SURE
    centerness_L1 = codes_P10.new_full((count, 1), -_SURE)
    centerness_L1[rows, 0] = targets.centerness_P.logit(eps=1e-6)
    return scores_LC, codes_L10, directions_L1, attributes_LA, centerness_L1
