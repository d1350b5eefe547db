"""DetectionAP against pycocotools, slice by slice."""

import contextlib
import io
import math

import pytest
from detection_samples import random_samples
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from drivemim.evaluation import DetectionAP

CLASSES = ("pedestrian", "vehicle")


def coco_run(samples):
    """A finished evaluation by pycocotools; ignored objects have an area that does not count."""
    truth, found = [], []
    for image, each in enumerate(samples, 1):
        for one in each["instances"]:
            x1, y1, x2, y2 = one["bbox"]
            truth.append(
                dict(id=len(truth) + 1, image_id=image, category_id=one["bbox_label"])
                | dict(iscrowd=one.get("crowd", 0))
                | dict(bbox=[x1, y1, x2 - x1, y2 - y1], area=float(not one["ignore_flag"]))
            )
        predicted = each["pred_instances"]
        for box, label, score in zip(*(predicted[key].tolist() for key in predicted), strict=True):
            x1, y1, x2, y2 = box
            found.append(
                dict(id=len(found) + 1, image_id=image, category_id=label, score=score)
                | dict(bbox=[x1, y1, x2 - x1, y2 - y1], area=1.0, iscrowd=0)
            )
    frame = {
        "images": [{"id": image} for image in range(1, len(samples) + 1)],
        "categories": [{"id": 0, "name": "pedestrian"}, {"id": 1, "name": "vehicle"}],
    }
    with contextlib.redirect_stdout(io.StringIO()):
        sides = []
        for annotations in truth, found:
            side = COCO()
            side.dataset = {**frame, "annotations": annotations}
            side.createIndex()
            sides.append(side)
        run = COCOeval(*sides, "bbox")
        run.params.areaRng, run.params.areaRngLbl = [[0.5, 2.0]], ["all"]
        run.params.maxDets = [100]
        run.evaluate()
        run.accumulate()
    return run


def plain_coco(samples):
    """(AP, AP50, AR) of each class by pycocotools."""
    run = coco_run(samples)

    def mean(values):
        return values[values > -1].mean() if (values > -1).any() else math.nan

    precision, recall = run.eval["precision"], run.eval["recall"]
    return [
        (mean(precision[:, :, row, 0, 0]), mean(precision[0, :, row, 0, 0]), mean(recall[:, row]))
        for row in range(2)
    ]


def sliced_coco(samples, inside, alarm=lambda box: True):
    """(AP, AP50, AR) of each class in a slice, one by one, from pycocotools' own matches.

    Of the detections, those matched to an object outside the slice, or to an ignored one, are
    left out, and those that match nothing unless ``alarm`` holds of their box.
    """
    run = coco_run(samples)
    instances = [one for each in samples for one in each["instances"]]
    return [_sliced_class(run, instances, label, inside, alarm) for label in range(2)]


def _sliced_class(run, instances, label, inside, alarm):
    def counts(one):
        return not one["ignore_flag"] and inside(one)

    total = sum(counts(one) for one in instances if one["bbox_label"] == label)
    if total == 0:
        return [math.nan] * 3
    precisions, recalls = [], []
    for threshold in range(10):
        ranked = []
        for image in run.evalImgs:
            if image is None or image["category_id"] != label:
                continue
            for row, detection in enumerate(image["dtIds"]):
                match = int(image["dtMatches"][threshold][row])
                x1, y1, width, height = run.cocoDt.anns[detection]["bbox"]
                if match and counts(instances[match - 1]):
                    ranked.append((image["dtScores"][row], True))
                elif not match and alarm((x1, y1, x1 + width, y1 + height)):
                    ranked.append((image["dtScores"][row], False))
        ranked.sort(key=lambda each: -each[0])
        points, hits = [], 0
        for place, (_, right) in enumerate(ranked, 1):
            hits += right
            points.append((hits / total, hits / place))
        recalls.append(hits / total)
        best = [
            max([precision for reached, precision in points if reached >= wanted], default=0.0)
            for wanted in run.params.recThrs
        ]
        precisions.append(sum(best) / len(best))
    return [sum(precisions) / 10, precisions[0], sum(recalls) / 10]


def height(box):
    return box[3] - box[1]


SLICES = {
    "distance 0-20 m": lambda each: each["distance"] < 20,
    "distance 20-40 m": lambda each: 20 <= each["distance"] < 40,
    "distance 40+ m": lambda each: 40 <= each["distance"] < math.inf,
    **{f"visibility {n}": (lambda each, n=n: each["visibility"] == n) for n in (1, 2, 3, 4)},
    "motion still": lambda each: each["moving"] == 0,
    "motion moving": lambda each: each["moving"] == 1,
}
SIZES = {
    "size 0-32 px": lambda box: height(box) < 32,
    "size 32-96 px": lambda box: 32 <= height(box) < 96,
    "size 96+ px": lambda box: height(box) >= 96,
}


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_every_number_agrees_with_pycocotools(seed):
    samples = random_samples(seed)
    metric = DetectionAP()
    metric.process(None, samples)
    table = metric.score(metric.results, CLASSES).table
    expected = {"all": plain_coco(samples)}
    for key in "camera", "condition":
        for word in {word for each in samples for word in each[key].split()}:
            part = [each for each in samples if word in each[key].split()]
            expected[f"{key} {word}"] = plain_coco(part)
    for name, inside in SLICES.items():
        expected[name] = sliced_coco(samples, inside)
    for name, fits in SIZES.items():
        expected[name] = sliced_coco(samples, lambda each, fits=fits: fits(each["bbox"]), fits)
    assert set(expected) == set(table)
    for name, classes in expected.items():
        for score, (ap, ap50, ar) in zip(table[name], classes, strict=True):
            found = [score.ap, score.ap50, score.ar]
            assert found == pytest.approx([ap, ap50, ar], nan_ok=True), name
