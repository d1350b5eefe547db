"""Monocular 3-D head for MMDetection's FCOS, which predicts boxes in the camera's frame.

Paper: FCOS3D, Wang et al. 2021, https://arxiv.org/abs/2104.10956. ``Mono3DCoder`` defines the
predicted numbers, ``LocationAssigner`` their locations.

Letters: B images, L locations of all levels, P positives of all images, A attributes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from mmdet.models.dense_heads import AnchorFreeHead
from mmdet.models.utils import filter_scores_and_topk
from mmdet.utils import reduce_mean
from mmengine.structures import InstanceData
from torch import Tensor, nn

from drivemim.errors import ConfigError, DataError, check_range
from drivemim.models.heads.mono3d_boxes import image_boxes, nms_bev
from drivemim.models.heads.mono3d_coder import CODE_PARTS, CODE_SIZE, Objects3D
from drivemim.models.heads.mono3d_targets import (
    ImageTargets,
    LocationAssigner,
    Locations,
    image_targets,
    pyramid_locations,
)
from drivemim.registry import MODELS

Levels = Sequence[Tensor]


@MODELS.register_module()
class Mono3DHead(AnchorFreeHead):
    """Predict class, centre, size, yaw, velocity and attribute of objects in MMDetection's FCOS.

    Data samples must have ``gt_instances`` with ``bboxes``, ``labels``, ``centers``, ``sizes``,
    ``yaws``, ``velocities`` (NaN if unknown) and ``attributes`` (-1 if unknown), and the metainfo
    ``camera_matrix`` (for pixels of the network's input) and ``camera_to_global``. The head adds
    ``pred_instances`` with the same fields and ``scores``. Frames and units are those of
    ``Objects3D``.

    Args:
        bbox_coder: config of a ``Mono3DCoder``; its ``class_sizes`` has one row per class.
        num_classes: number of object classes.
        in_channels: channels of the neck's maps.
        strides: strides of those maps, pixels.
        class_attributes: for each class, the numbers of the attributes its objects may have.
        level_limits: see ``LocationAssigner``, also for the next three arguments.
        center_radius: strides.
        min_depth: metres.
        centerness_decay: 2.5 in the paper.
        code_weights: loss weights of ``offset``, ``depth``, ``size``, ``angle`` and ``velocity``.
            The defaults are the paper's, except for depth: the paper uses 0.2 for metres, but here
            the loss is that of a logarithm.
        feat_channels: channels of the two towers.
        stacked_convs: number of convolutions of each tower.
        norm_cfg: normalisation of the towers.
        loss_cls: focal loss of the classes.
        loss_bbox: loss of each part of the code, the numbers that ``Mono3DCoder`` defines.
        loss_centerness: binary loss.
        loss_direction: binary loss of the direction bit; see ``Mono3DCoder``.
        loss_attribute: loss of the attributes, where they are known.
        train_cfg: MMDetection's argument; not used.
        test_cfg: ``score_thr``, ``nms_pre`` (number of best candidates per image), ``nms`` (in the
            bird's-eye view; None to disable it) and ``max_per_img`` (-1 for no limit).

    Raises:
        ConfigError: if numbers of classes, levels or attributes do not fit together.
    """

    def __init__(
        self,
        *,
        bbox_coder: Mapping[str, Any],
        num_classes: int,
        in_channels: int,
        strides: Sequence[int],
        class_attributes: Sequence[Sequence[int]],
        level_limits: Sequence[float],
        center_radius: float = 1.5,
        min_depth: float = 1.0,
        centerness_decay: float = 2.5,
        code_weights: Mapping[str, float] | None = None,
        feat_channels: int = 256,
        stacked_convs: int = 2,
        norm_cfg: Mapping[str, Any] | None = None,
        loss_cls: Mapping[str, Any] | None = None,
        loss_bbox: Mapping[str, Any] | None = None,
        loss_centerness: Mapping[str, Any] | None = None,
        loss_direction: Mapping[str, Any] | None = None,
        loss_attribute: Mapping[str, Any] | None = None,
        train_cfg: Any = None,
        test_cfg: Any = None,
    ) -> None:
        binary = dict(type="mmdet.CrossEntropyLoss", use_sigmoid=True)
        self.class_attributes = tuple(tuple(each) for each in class_attributes)
        # At least 1: PyTorch has no convolution without outputs.
        self.num_attributes = 1 + max((n for row in class_attributes for n in row), default=0)
        super().__init__(
            num_classes=num_classes,
            in_channels=in_channels,
            feat_channels=feat_channels,
            stacked_convs=stacked_convs,
            strides=strides,
            bbox_coder=bbox_coder,
            norm_cfg=norm_cfg or dict(type="GN", num_groups=32),
            loss_cls=loss_cls or dict(type="mmdet.FocalLoss", use_sigmoid=True),
            loss_bbox=loss_bbox or dict(type="mmdet.SmoothL1Loss", beta=1 / 9),
            train_cfg=train_cfg,
            test_cfg=test_cfg,
        )
        self.loss_centerness = MODELS.build(loss_centerness or binary)
        self.loss_direction = MODELS.build(loss_direction or binary)
        self.loss_attribute = MODELS.build(loss_attribute or dict(type="mmdet.CrossEntropyLoss"))
        self.code_weights = {"velocity": 0.05, **(code_weights or {})}
        self.assigner = LocationAssigner(
            level_limits=tuple(level_limits),
            center_radius=center_radius,
            min_depth=min_depth,
            centerness_decay=centerness_decay,
        )
        self._check()

    def _check(self) -> None:
        classes = {
            "class_attributes": len(self.class_attributes),
            "bbox_coder.class_sizes": len(self.bbox_coder.class_sizes),
        }
        for name, count in classes.items():
            if count != self.num_classes:
                raise ConfigError(f"{name} has {count} rows for {self.num_classes} classes")
        limits = self.assigner.level_limits
        if len(limits) != len(self.strides) - 1 or list(limits) != sorted(set(limits)):
            raise ConfigError(
                f"level_limits={limits} must ascend, with one limit for every level of "
                f"strides={self.strides} but the last, which takes all larger objects"
            )
        unknown = set(self.code_weights) - set(CODE_PARTS)
        if unknown:
            raise ConfigError(f"code_weights: {sorted(unknown)} are none of {list(CODE_PARTS)}")
        for name, weight in self.code_weights.items():
            check_range(f"code_weights.{name}", weight, 0)
        for name in ("center_radius", "min_depth", "centerness_decay"):
            check_range(name, getattr(self.assigner, name), 0)

    def _init_predictor(self) -> None:
        """Build the last layers; the base class's constructor calls this."""
        super()._init_predictor()

        def last(channels: int) -> nn.Conv2d:
            return nn.Conv2d(self.feat_channels, channels, 3, padding=1)

        self.conv_reg = last(CODE_SIZE)
        self.conv_direction = last(1)
        self.conv_centerness = last(1)
        self.conv_attribute = last(self.num_attributes)

    def forward(self, x: Levels) -> tuple[list[Tensor], ...]:
        """Predict five maps per level from the neck's maps (B, C, h, w).

        Returns:
            class scores, codes, directions, attributes and centre-ness, each (B, channels, h, w);
            all but codes are logits.
        """
        levels = [self.forward_single(each) for each in x]
        return tuple(list(maps) for maps in zip(*levels, strict=True))

    def forward_single(self, x: Tensor) -> tuple[Tensor, ...]:
        """Predict the five maps of one level."""
        scores, codes, class_features, box_features = super().forward_single(x)
        return (
            scores,
            codes,
            self.conv_direction(box_features),
            self.conv_attribute(class_features),
            self.conv_centerness(box_features),
        )

    def loss_by_feat(
        self,
        cls_scores: Levels,
        codes: Levels,
        directions: Levels,
        attributes: Levels,
        centernesses: Levels,
        batch_gt_instances: Sequence[InstanceData],
        batch_img_metas: Sequence[Mapping[str, Any]],
        batch_gt_instances_ignore: Sequence[InstanceData] | None = None,
    ) -> dict[str, Tensor]:
        """Compute the losses of a batch; each has a gradient even in a batch without objects."""
        targets = self.get_targets(
            self.locations([level.shape[-2:] for level in cls_scores]),
            batch_gt_instances,
            batch_img_metas,
            batch_gt_instances_ignore,
        )
        scores_BLC = _joined(cls_scores)
        L = scores_BLC.shape[1]
        rows_P = torch.cat([image.positives_P + row * L for row, image in enumerate(targets)])
        count = float(reduce_mean(scores_BLC.new_tensor(float(len(rows_P)))).clamp(min=1))

        def positives(maps: Levels) -> Tensor:
            return _joined(maps).flatten(0, 1)[rows_P]

        def wanted(name: str) -> Tensor:
            return torch.cat([getattr(image, name) for image in targets])

        attributes_P = wanted("attributes_P")
        known_P = (attributes_P >= 0).to(scores_BLC.dtype)
        return {
            "loss_cls": self.loss_cls(
                scores_BLC.flatten(0, 1),
                wanted("labels_L"),
                weight=wanted("counted_L").to(scores_BLC.dtype),
                avg_factor=count,
            ),
            **self._code_losses(positives(codes), wanted("codes_P10"), count),
            "loss_direction": self.loss_direction(
                positives(directions).squeeze(1), wanted("directions_P"), avg_factor=count
            ),
            "loss_attribute": self.loss_attribute(
                positives(attributes),
                attributes_P.clamp(min=0),
                weight=known_P,
                avg_factor=count,
            ),
            "loss_centerness": self.loss_centerness(
                positives(centernesses).squeeze(1), wanted("centerness_P"), avg_factor=count
            ),
        }

    def _code_losses(
        self, codes_P10: Tensor, wanted_P10: Tensor, count: float
    ) -> dict[str, Tensor]:
        """Compute one loss per part of the code; unknown velocities are ignored."""
        known_P10 = wanted_P10.isfinite().to(codes_P10.dtype)
        wanted_P10 = wanted_P10.nan_to_num()
        return {
            f"loss_{name}": self.code_weights.get(name, 1.0)
            * self.loss_bbox(
                codes_P10[:, part],
                wanted_P10[:, part],
                weight=known_P10[:, part],
                avg_factor=count,
            )
            for name, part in CODE_PARTS.items()
        }

    def get_targets(
        self,
        locations: Locations,
        batch_gt_instances: Sequence[InstanceData],
        batch_img_metas: Sequence[Mapping[str, Any]],
        batch_gt_instances_ignore: Sequence[InstanceData] | None = None,
    ) -> list[ImageTargets]:
        """Compute the targets of each image of a batch.

        Raises:
            ConfigError: if the pipeline does not pack ``camera_matrix``.
        """
        none = locations.points_L2.new_zeros((0, 4))
        ignored = batch_gt_instances_ignore or [None] * len(batch_gt_instances)
        return [
            image_targets(
                self.assigner,
                self.bbox_coder,
                locations,
                objects=Objects3D(objects.centers, objects.sizes, objects.yaws, objects.velocities),
                boxes_M4=objects.bboxes,
                labels_M=objects.labels,
                attributes_M=objects.attributes,
                ignored_boxes=none if left_out is None else left_out.bboxes,
                camera_matrix_33=_matrix(meta, "camera_matrix", like=none),
            )
            for objects, left_out, meta in zip(
                batch_gt_instances, ignored, batch_img_metas, strict=True
            )
        ]

    def predict_by_feat(
        self,
        cls_scores: Levels,
        codes: Levels,
        directions: Levels,
        attributes: Levels,
        centernesses: Levels,
        batch_img_metas: Sequence[Mapping[str, Any]],
        cfg: Any = None,
        rescale: bool = False,
        with_nms: bool = True,
    ) -> list[InstanceData]:
        """Decode the objects of each image, best first.

        Args:
            cls_scores: output of :meth:`forward`, like the next four arguments.
            codes: output of :meth:`forward`.
            directions: output of :meth:`forward`.
            attributes: output of :meth:`forward`.
            centernesses: output of :meth:`forward`.
            batch_img_metas: metainfo with ``camera_matrix``, ``camera_to_global`` and
                ``img_shape``, and ``scale_factor`` if ``rescale``.
            cfg: replaces ``test_cfg``.
            rescale: whether ``bboxes`` are in pixels of the stored image.
            with_nms: whether to suppress all but the best of overlapping boxes.

        Returns:
            One InstanceData per image; ``bboxes`` are the visible parts of the 3-D boxes.
        """
        cfg = self.test_cfg if cfg is None else cfg
        locations = self.locations([each.shape[-2:] for each in cls_scores])
        joined = [
            _joined(each) for each in (cls_scores, codes, directions, attributes, centernesses)
        ]
        results = []
        for meta, *outputs in zip(batch_img_metas, *joined, strict=True):
            objects = self._objects(locations, outputs, meta, cfg)
            objects = nms_bev(objects, cfg.get("nms") if with_nms else None)
            if (limit := cfg.get("max_per_img", -1)) >= 0:
                objects = objects[:limit]
            objects.bboxes = _boxes(objects, meta, rescale)
            results.append(objects)
        return results

    def _objects(
        self, locations: Locations, outputs: Sequence[Tensor], meta: Mapping[str, Any], cfg: Any
    ) -> InstanceData:
        """Decode the best locations of an image."""
        if not all(torch.isfinite(output).all() for output in outputs):
            raise DataError(
                f"the detector's outputs for {meta.get('img_path')} (sample "
                f"{meta.get('sample_token')}) are not all finite: its weights diverged; evaluate "
                "an earlier checkpoint"
            )
        scores_LC, codes_L10, directions_L1, attributes_LA, centerness_L1 = outputs
        scores, labels, rows, _ = filter_scores_and_topk(
            scores_LC.sigmoid() * centerness_L1.sigmoid(), cfg["score_thr"], cfg["nms_pre"]
        )
        objects = self.bbox_coder.decode(
            codes_L10[rows],
            directions_L1[rows].squeeze(1).sigmoid(),
            labels_M=labels,
            points_M2=locations.points_L2[rows],
            strides_M=locations.strides_L[rows],
            camera_matrix_33=_matrix(meta, "camera_matrix", like=codes_L10),
        )
        return InstanceData(
            scores=scores,
            labels=labels,
            centers=objects.centers_M3,
            sizes=objects.sizes_M3,
            yaws=objects.yaws_M,
            velocities=objects.velocities_M2,
            attributes=self._attributes(attributes_LA[rows], labels),
        )

    def _attributes(self, logits_MA: Tensor, labels_M: Tensor) -> Tensor:
        """Return the likeliest attribute that an object's class may have; -1 if it has none."""
        allowed_CA = logits_MA.new_zeros((self.num_classes, self.num_attributes), dtype=torch.bool)
        for label, numbers in enumerate(self.class_attributes):
            allowed_CA[label, list(numbers)] = True
        allowed_MA = allowed_CA[labels_M]
        best_M = logits_MA.masked_fill(~allowed_MA, -torch.inf).argmax(dim=1)
        return torch.where(allowed_MA.any(dim=1), best_M, -1)

    def locations(self, sizes: Sequence[Sequence[int]]) -> Locations:
        """Return the locations of maps with these heights and widths, one size per level."""
        device = self.conv_cls.weight.device
        return pyramid_locations(
            self.prior_generator.grid_priors(sizes, device=device, with_stride=True)
        )


def _joined(maps: Levels) -> Tensor:
    """Join the maps (B, C, h, w) of all levels to (B, L, C), in full precision."""
    return torch.cat([each.flatten(2).transpose(1, 2) for each in maps], dim=1).float()


def _matrix(meta: Mapping[str, Any], name: str, like: Tensor) -> Tensor:
    if name not in meta:
        raise ConfigError(
            f"image {meta.get('img_path')} comes without {name!r}, which a 3-D head needs; its "
            "pipeline must load FrameDetection3D and pack it"
        )
    return torch.as_tensor(meta[name], dtype=like.dtype, device=like.device)


def _boxes(objects: InstanceData, meta: Mapping[str, Any], rescale: bool) -> Tensor:
    boxes_M4 = image_boxes(
        objects,
        _matrix(meta, "camera_matrix", like=objects.centers),
        _matrix(meta, "camera_to_global", like=objects.centers.double()),
        tuple(meta["img_shape"][:2]),
    )
    if not rescale:
        return boxes_M4
    return boxes_M4 / boxes_M4.new_tensor(meta["scale_factor"]).repeat(2)
