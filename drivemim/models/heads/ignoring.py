"""Detection heads and an assigner that exclude ignored objects from the loss.

Filters ignore some objects (too far, too small, hidden), but these are still in the image.
MMDetection's overlap-based assigners support this with ``ignore_iof_thr``. Its FCOS and DINO heads
and RTMDet's assigner have no ignored boxes and would train them as background. The classes here
leave them out of the loss.

Letters: P points or boxes, Q points of all images, M ignored boxes.
"""

from __future__ import annotations

from typing import Any

import torch
from mmdet.models.dense_heads import DINOHead, FCOSHead
from mmdet.models.task_modules.assigners import AssignResult, DynamicSoftLabelAssigner
from mmdet.structures.bbox import bbox_cxcywh_to_xyxy, bbox_overlaps
from mmengine.structures import InstanceData
from torch import Tensor

from drivemim.registry import MODELS, TASK_UTILS

# A logit so low that the prediction of background is certain: it has no loss, and ``masked_fill``
# passes no gradient. It is within the range of half precision.
_CERTAIN_BACKGROUND = -1e4
_IGNORED = "ignored_boxes"


def inside_any(points_P2: Tensor, boxes_M4: Tensor) -> Tensor:
    """Return bool (P,), True for points (x, y) inside at least one box (x1, y1, x2, y2)."""
    points_P12 = points_P2[:, None]
    inside_PM2 = (points_P12 > boxes_M4[:, :2]) & (points_P12 < boxes_M4[:, 2:])
    return inside_PM2.all(dim=2).any(dim=1)


def mostly_inside_any(boxes_P4: Tensor, ignored_M4: Tensor, fraction: float) -> Tensor:
    """Return bool (P,), True for boxes with over ``fraction`` of their area in one ignored box."""
    if len(ignored_M4) == 0:
        return torch.zeros(len(boxes_P4), dtype=torch.bool, device=boxes_P4.device)
    fractions_PM: Tensor = bbox_overlaps(boxes_P4, ignored_M4, mode="iof")
    return fractions_PM.amax(dim=1) > fraction


@MODELS.register_module()
class IgnoringFCOSHead(FCOSHead):
    """MMDetection's FCOS head; points inside ignored boxes are not background.

    A point assigned to an object is trained as that object, even inside an ignored box.
    """

    def loss_by_feat(
        self,
        cls_scores: list[Tensor],
        bbox_preds: list[Tensor],
        centernesses: list[Tensor],
        batch_gt_instances: list[InstanceData],
        batch_img_metas: list[dict[str, Any]],
        batch_gt_instances_ignore: list[InstanceData | None] | None = None,
    ) -> dict[str, Tensor]:
        """Compute MMDetection's losses without the ignored points; shapes like in MMDetection."""
        if batch_gt_instances_ignore is not None:
            cls_scores = self._silence(cls_scores, batch_gt_instances, batch_gt_instances_ignore)
        losses: dict[str, Tensor] = super().loss_by_feat(
            cls_scores, bbox_preds, centernesses, batch_gt_instances, batch_img_metas
        )
        return losses

    def _silence(
        self,
        scores: list[Tensor],
        objects: list[InstanceData],
        ignored: list[InstanceData | None],
    ) -> list[Tensor]:
        """Set scores to certain background at ignored points: (B, classes, h, w) per level."""
        points = self.prior_generator.grid_priors(
            [level.shape[-2:] for level in scores], dtype=torch.float32, device=scores[0].device
        )
        labels, _ = self.get_targets(points, objects)
        silenced = []
        for scores_BChw, points_P2, labels_Q in zip(scores, points, labels, strict=True):
            background_BP = labels_Q.reshape(len(objects), -1) == self.num_classes
            inside_BP = torch.stack([
                torch.zeros_like(background_BP[0])
                if each is None
                else inside_any(points_P2, each.bboxes)
                for each in ignored
            ])  # fmt: skip
            is_ignored_BP = background_BP & inside_BP
            is_ignored_B1hw = is_ignored_BP.reshape(-1, 1, *scores_BChw.shape[2:])
            silenced.append(scores_BChw.masked_fill(is_ignored_B1hw, _CERTAIN_BACKGROUND))
        return silenced


@MODELS.register_module()
class IgnoringDINOHead(DINOHead):
    """MMDetection's DINO head; queries on ignored objects are not background.

    Args:
        args: see MMDetection.
        ignore_iof_thr: fraction of a predicted box inside an ignored one, above which an unmatched
            query has no classification loss.
        kwargs: see MMDetection.
    """

    def __init__(self, *args: Any, ignore_iof_thr: float = 0.5, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.ignore_iof_thr = ignore_iof_thr

    def loss(self, *args: Any, batch_data_samples: list[Any], **kwargs: Any) -> dict[str, Tensor]:
        """Compute MMDetection's losses.

        The ignored boxes are put into the samples' metainfo, because MMDetection passes only this
        on to ``_get_targets_single``.
        """
        for sample in batch_data_samples:
            if "ignored_instances" in sample:
                sample.set_metainfo({_IGNORED: sample.ignored_instances.bboxes})
        losses: dict[str, Tensor] = super().loss(
            *args, batch_data_samples=batch_data_samples, **kwargs
        )
        return losses

    def _get_targets_single(
        self,
        cls_score: Tensor,
        bbox_pred: Tensor,
        gt_instances: InstanceData,
        img_meta: dict[str, Any],
    ) -> tuple[Tensor, ...]:
        """Return MMDetection's targets of one image; queries on ignored objects have weight 0."""
        targets = super()._get_targets_single(cls_score, bbox_pred, gt_instances, img_meta)
        if _IGNORED not in img_meta:
            return tuple(targets)
        labels_P, weights_P, boxes_P4, box_weights_P4, positives, negatives = targets
        height, width = img_meta["img_shape"]
        predicted_P4 = bbox_cxcywh_to_xyxy(bbox_pred) * bbox_pred.new_tensor([width, height] * 2)
        is_ignored_P = mostly_inside_any(predicted_P4, img_meta[_IGNORED], self.ignore_iof_thr)
        is_ignored_P &= labels_P == self.num_classes
        weights_P = weights_P.masked_fill(is_ignored_P, 0.0)
        negatives = negatives[~is_ignored_P[negatives]]
        return labels_P, weights_P, boxes_P4, box_weights_P4, positives, negatives


@TASK_UTILS.register_module()
class IgnoringSoftLabelAssigner(DynamicSoftLabelAssigner):
    """MMDetection's assigner of RTMDet; priors inside ignored boxes are not background."""

    def assign(
        self,
        pred_instances: InstanceData,
        gt_instances: InstanceData,
        gt_instances_ignore: InstanceData | None = None,
        **kwargs: Any,
    ) -> AssignResult:
        """Assign like MMDetection, with -1 for background priors in ignored boxes."""
        result = super().assign(pred_instances, gt_instances, gt_instances_ignore, **kwargs)
        if gt_instances_ignore is not None:
            inside_P = inside_any(pred_instances.priors[:, :2], gt_instances_ignore.bboxes)
            result.gt_inds[(result.gt_inds == 0) & inside_P] = -1
        return result
