"""Ignored objects do not affect losses: by hand and against MMDetection's own heads."""

import math

import pytest
import torch
from mmdet.models.dense_heads import FCOSHead
from mmengine.registry import init_default_scope
from mmengine.structures import InstanceData

from drivemim.models.heads.ignoring import (
    IgnoringDINOHead,
    IgnoringFCOSHead,
    IgnoringSoftLabelAssigner,
    inside_any,
    mostly_inside_any,
)

NO_BOXES = torch.zeros(0, 4)
# An object, and what is ignored: one box apart from it, one over its right half and beyond.
OBJECT = InstanceData(bboxes=torch.tensor([[8.0, 8.0, 40.0, 40.0]]), labels=torch.tensor([1]))
IGNORED = InstanceData(bboxes=torch.tensor([[40.0, 44.0, 64.0, 64.0], [24.0, 8.0, 56.0, 40.0]]))
NOTHING = InstanceData(bboxes=NO_BOXES, labels=torch.zeros(0, dtype=torch.int64))


@pytest.fixture(autouse=True)
def scope() -> None:
    init_default_scope("mmdet")


def test_points_and_boxes_inside_by_hand() -> None:
    boxes = torch.tensor([[0.0, 0.0, 4.0, 4.0], [10.0, 0.0, 12.0, 20.0]])
    points = torch.tensor([[1.0, 1.0], [4.0, 2.0], [11.0, 19.0], [11.0, 21.0], [7.0, 2.0]])
    assert inside_any(points, boxes).tolist() == [True, False, True, False, False]
    assert inside_any(points, NO_BOXES).tolist() == [False] * 5
    # Inside the first by 1/2, 3/4 and 1; over both, by 1/3 each.
    found = torch.tensor([[2.0, 0, 6, 4], [1.0, 0, 5, 4], [1.0, 1, 3, 3], [2.0, 0, 8, 1]])
    assert mostly_inside_any(found, boxes, 0.5).tolist() == [False, True, True, False]
    assert mostly_inside_any(found, NO_BOXES, 0.5).tolist() == [False] * 4


def fcos(kind: type[FCOSHead]) -> FCOSHead:
    torch.manual_seed(0)
    return kind(
        num_classes=2, in_channels=8, feat_channels=8, stacked_convs=1, strides=[8, 16],
        regress_ranges=((-1, 64), (64, 1e8)), norm_cfg=None, center_sampling=True,
    )  # fmt: skip


def predictions(count: int = 2) -> tuple[list[torch.Tensor], ...]:
    generator = torch.Generator().manual_seed(3)
    sizes = ((8, 8), (4, 4))
    return tuple(
        [torch.randn(count, channels, *size, generator=generator).exp() for size in sizes]
        for channels in (2, 4, 1)
    )


def test_fcos_loss_is_that_of_the_points_that_count() -> None:
    """Focal loss of every point by hand, in float64; the second image has only ignored objects."""
    scores, boxes, centers = predictions()
    scores = [level.requires_grad_() for level in scores]
    objects, ignored = [OBJECT, NOTHING], [IGNORED, IGNORED]
    metas = [dict(img_shape=(64, 64))] * 2
    head, plain = fcos(IgnoringFCOSHead), fcos(FCOSHead)
    losses = head.loss_by_feat(scores, boxes, centers, objects, metas, ignored)
    (labels, _) = plain.get_targets(
        plain.prior_generator.grid_priors([(8, 8), (4, 4)], device="cpu"), objects
    )
    expected, positives = 0.0, 0
    counted = []
    for level, (stride, level_labels) in enumerate(zip((8, 16), labels, strict=True)):
        side = 64 // stride
        counts = torch.ones(2, side, side, dtype=torch.bool)
        for image in range(2):
            for row in range(side):
                for column in range(side):
                    label = int(level_labels[(image * side + row) * side + column])
                    x, y = (column + 0.5) * stride, (row + 0.5) * stride
                    inside = any(a < x < c and b < y < d for a, b, c, d in IGNORED.bboxes.tolist())
                    if label == 2 and inside:
                        counts[image, row, column] = False
                        continue
                    positives += label < 2
                    for number in range(2):
                        logit = float(scores[level].detach()[image, number, row, column])
                        p = 1 / (1 + math.exp(-logit))
                        if number == label:
                            expected -= 0.25 * (1 - p) ** 2 * math.log(p)
                        else:
                            expected -= 0.75 * p**2 * math.log(1 - p)
        counted.append(counts)
    assert positives > 0
    assert float(losses["loss_cls"].detach()) == pytest.approx(expected / positives, rel=1e-5)
    losses["loss_cls"].backward()
    for level, counts in zip(scores, counted, strict=True):
        assert level.grad is not None
        assert torch.equal((level.grad != 0).all(dim=1), counts)
    usual = plain.loss_by_feat(scores, boxes, centers, objects, metas)
    assert usual["loss_cls"] > losses["loss_cls"]
    for key in ("loss_bbox", "loss_centerness"):
        assert torch.equal(usual[key], losses[key])


@pytest.mark.parametrize("ignored", [None, [None], [InstanceData(bboxes=NO_BOXES)]])
def test_fcos_without_ignored_objects_is_mmdetections(ignored: list[InstanceData] | None) -> None:
    metas = [dict(img_shape=(64, 64))]
    ours = fcos(IgnoringFCOSHead).loss_by_feat(*predictions(1), [OBJECT], metas, ignored)
    theirs = fcos(FCOSHead).loss_by_feat(*predictions(1), [OBJECT], metas)
    assert ours == theirs


def test_rtmdets_priors_in_ignored_boxes_are_ignored() -> None:
    assigner = IgnoringSoftLabelAssigner(topk=1)
    # Points on a line, 8 apart; the object has the first, the next two lie in what is ignored.
    points = torch.arange(4.0, 64, 8)
    priors = torch.stack([points, points * 0 + 4, points * 0 + 8, points * 0 + 8], dim=1)
    boxes = torch.cat([priors[:, :2] - 4, priors[:, :2] + 4], dim=1)
    found = InstanceData(priors=priors, bboxes=boxes, scores=torch.zeros(8, 2))
    one = InstanceData(bboxes=boxes[:1], labels=torch.tensor([1]))
    ignored = InstanceData(bboxes=torch.tensor([[0.0, 0.0, 24.0, 8.0]]))
    assert assigner.assign(found, one, ignored).gt_inds.tolist() == [1, -1, -1, 0, 0, 0, 0, 0]
    assert assigner.assign(found, one, None).gt_inds.tolist() == [1, 0, 0, 0, 0, 0, 0, 0]
    alone = assigner.assign(found, NOTHING, ignored).gt_inds.tolist()
    assert alone == [-1, -1, -1, 0, 0, 0, 0, 0]


def dino(**changes: float) -> IgnoringDINOHead:
    costs = [
        dict(type="FocalLossCost", weight=2.0),
        dict(type="BBoxL1Cost", weight=5.0, box_format="xywh"),
        dict(type="IoUCost", iou_mode="giou", weight=2.0),
    ]
    return IgnoringDINOHead(
        num_classes=2, embed_dims=16, num_pred_layer=1, as_two_stage=True,
        loss_cls=dict(type="FocalLoss", use_sigmoid=True),
        train_cfg=dict(assigner=dict(type="HungarianAssigner", match_costs=costs)), **changes,
    )  # fmt: skip


def test_dinos_queries_on_ignored_objects_weigh_nothing() -> None:
    # Of an image 64 high and 96 wide: the object; half, then three quarters, then all of a query
    # inside what is ignored; one that found nothing.
    queries = torch.tensor([
        [8.0, 8, 40, 40], [48, 48, 80, 60], [36, 48, 52, 60], [42, 50, 50, 60], [0, 50, 8, 60],
    ])  # fmt: skip
    middles = torch.cat([(queries[:, :2] + queries[:, 2:]) / 2, queries[:, 2:] - queries[:, :2]], 1)
    normalized = middles / torch.tensor([96, 64, 96, 64])
    scores = torch.zeros(5, 2)
    meta = dict(img_shape=(64, 96), ignored_boxes=IGNORED.bboxes)
    labels, weights, _, box_weights, positives, negatives = dino()._get_targets_single(
        scores, normalized, OBJECT, meta
    )
    assert labels.tolist() == [1, 2, 2, 2, 2]
    assert weights.tolist() == [1, 1, 0, 0, 1]
    assert (positives.tolist(), negatives.tolist()) == ([0], [1, 4])
    assert box_weights[:, 0].tolist() == [1, 0, 0, 0, 0]
    # The object's own query counts although half of it lies in what is ignored.
    loose = dino(ignore_iof_thr=0.4)._get_targets_single(scores, normalized, OBJECT, meta)[1]
    assert loose.tolist() == [1, 0, 0, 0, 1]
    strict = dino(ignore_iof_thr=0.8)._get_targets_single(scores, normalized, OBJECT, meta)[1]
    assert strict.tolist() == [1, 1, 1, 0, 1]
    plain = dino()._get_targets_single(scores, normalized, OBJECT, dict(img_shape=(64, 96)))
    assert plain[1].tolist() == [1] * 5


def test_dinos_loss_gets_the_ignored_boxes(monkeypatch: pytest.MonkeyPatch) -> None:
    from mmdet.structures import DetDataSample

    head = dino()
    told = []
    monkeypatch.setattr(head, "forward", lambda *_: ())
    monkeypatch.setattr(head, "loss_by_feat", lambda *each: told.extend(each[3]) or {})
    samples = [DetDataSample(gt_instances=OBJECT), DetDataSample(gt_instances=OBJECT)]
    samples[0].ignored_instances = IGNORED
    nothing = dict.fromkeys(
        ("hidden_states", "references", "enc_outputs_class", "enc_outputs_coord", "dn_meta")
    )
    head.loss(**nothing, batch_data_samples=samples)
    assert torch.equal(told[0]["ignored_boxes"], IGNORED.bboxes)
    assert "ignored_boxes" not in told[1]
