"""DetectionAP against hand-computed cases, and against pycocotools slice by slice."""

import contextlib
import io
import math
import subprocess
import sys

import numpy as np
import pytest
import torch
from mmengine.evaluator import Evaluator
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from drivemim.evaluation import DetectionAP
from drivemim.evaluation.coco_metric import format_table

CLASSES = ("pedestrian", "vehicle")
BOX = [10.0, 10.0, 30.0, 50.0]
ELSEWHERE = [100.0, 100.0, 140.0, 130.0]


def instance(box, label=0, **extra):
    return {"bbox": box, "bbox_label": label, "ignore_flag": 0, **extra}


def sample(instances, boxes=(), labels=(), scores=(), camera="CAM_FRONT", condition="day"):
    return {
        "img_path": "frame.jpg",
        "instances": instances,
        "camera": camera,
        "condition": condition,
        "pred_instances": {
            "bboxes": torch.tensor(boxes, dtype=torch.float32).reshape(-1, 4),
            "labels": torch.tensor(labels, dtype=torch.int64),
            "scores": torch.tensor(scores, dtype=torch.float32),
        },
    }


def evaluate(samples, **options):
    metric = DetectionAP(**options)
    metric.dataset_meta = {"classes": CLASSES}
    evaluator = Evaluator(metric)
    evaluator.dataset_meta = {"classes": CLASSES}
    evaluator.process(samples, None)
    return evaluator.evaluate(len(samples))


def test_one_object_found_exactly():
    numbers = evaluate([sample([instance(BOX)], [BOX], [0], [0.9])])
    assert numbers["drivemim/pedestrian_AP"] == pytest.approx(1.0)
    assert numbers["drivemim/pedestrian_AP50"] == pytest.approx(1.0)
    assert numbers["drivemim/pedestrian_AR"] == pytest.approx(1.0)
    assert numbers["drivemim/pedestrian_count"] == 1
    assert math.isnan(numbers["drivemim/vehicle_AP"])
    assert numbers["drivemim/mAP"] == pytest.approx(1.0)


def test_a_loose_box_counts_at_the_low_thresholds_only():
    # The lower half of a 20 x 40 box reaches IoU 0.5; 0.65 of it passes 0.50, 0.55, 0.60, 0.65.
    numbers = evaluate([sample([instance(BOX)], [[10, 10, 30, 36.1]], [0], [0.9])])
    assert numbers["drivemim/pedestrian_AP50"] == pytest.approx(1.0)
    assert numbers["drivemim/pedestrian_AP"] == pytest.approx(4 / 10)
    assert numbers["drivemim/pedestrian_AR"] == pytest.approx(4 / 10)


def test_a_better_scored_false_alarm_halves_precision():
    numbers = evaluate([sample([instance(BOX)], [ELSEWHERE, BOX], [0, 0], [0.9, 0.5])])
    assert numbers["drivemim/pedestrian_AP"] == pytest.approx(0.5)
    numbers = evaluate([sample([instance(BOX)], [ELSEWHERE, BOX], [0, 0], [0.5, 0.9])])
    assert numbers["drivemim/pedestrian_AP"] == pytest.approx(1.0)


def test_half_of_the_objects_found():
    # Recall stops at 0.5: of COCO's 101 recall points, 0.00 to 0.50 have precision 1.
    numbers = evaluate([sample([instance(BOX), instance(ELSEWHERE)], [BOX], [0], [0.9])])
    assert numbers["drivemim/pedestrian_AP"] == pytest.approx(51 / 101)
    assert numbers["drivemim/pedestrian_AR"] == pytest.approx(0.5)


def test_the_wrong_class_is_a_miss_and_a_false_alarm():
    numbers = evaluate(
        [sample([instance(BOX, 0), instance(ELSEWHERE, 1)], [BOX, ELSEWHERE], [1, 1], [0.9, 0.5])]
    )
    assert numbers["drivemim/pedestrian_AP"] == 0.0
    assert numbers["drivemim/vehicle_AP"] == pytest.approx(0.5)
    assert numbers["drivemim/mAP"] == pytest.approx(0.25)


def test_ignored_objects_are_neither_found_nor_missed():
    ignored = {**instance(ELSEWHERE), "ignore_flag": 1}
    found = [sample([instance(BOX), ignored], [ELSEWHERE, BOX], [0, 0], [0.9, 0.5])]
    missed = [sample([instance(BOX), ignored], [BOX], [0], [0.5])]
    for numbers in evaluate(found), evaluate(missed):
        assert numbers["drivemim/pedestrian_AP"] == pytest.approx(1.0)
        assert numbers["drivemim/pedestrian_count"] == 1


def test_an_ignored_object_is_matched_by_iou_not_as_a_crowd():
    # A small detection inside a large ignored box would be excused by crowd matching.
    ignored = {**instance([0, 0, 200, 200]), "ignore_flag": 1}
    other = sample([ignored, instance([300, 300, 320, 320])], [BOX, [300, 300, 320, 320]], [0, 0])
    other["pred_instances"]["scores"] = torch.tensor([0.9, 0.5])
    assert evaluate([other])["drivemim/pedestrian_AP"] == pytest.approx(0.5)


def test_a_slice_ignores_objects_outside_but_not_false_alarms():
    near, far = instance(BOX, distance=10.0), instance(ELSEWHERE, distance=50.0)
    boxes = [ELSEWHERE, [300, 300, 320, 320], BOX]
    numbers = evaluate([sample([near, far], boxes, [0, 0, 0], [0.9, 0.8, 0.7])])
    # Near: the far object's detection does not count, the false alarm comes before the hit.
    assert numbers["drivemim/pedestrian_AP[distance 0-20 m]"] == pytest.approx(0.5)
    # Far: hit first.
    assert numbers["drivemim/pedestrian_AP[distance 40+ m]"] == pytest.approx(1.0)
    assert math.isnan(numbers["drivemim/pedestrian_AP[distance 20-40 m]"])
    assert numbers["drivemim/pedestrian_count[distance 0-20 m]"] == 1
    assert numbers["drivemim/pedestrian_count[distance 20-40 m]"] == 0


def test_image_slices_see_their_own_images_only():
    numbers = evaluate(
        [
            sample([instance(BOX)], [BOX], [0], [0.9], camera="CAM_BACK", condition="night rain"),
            sample([instance(BOX)], [ELSEWHERE], [0], [0.9], camera="CAM_FRONT", condition="day"),
        ]
    )
    assert numbers["drivemim/pedestrian_AP[camera CAM_BACK]"] == pytest.approx(1.0)
    assert numbers["drivemim/pedestrian_AP[camera CAM_FRONT]"] == 0.0
    assert numbers["drivemim/pedestrian_AP[condition night]"] == pytest.approx(1.0)
    assert numbers["drivemim/pedestrian_AP[condition rain]"] == pytest.approx(1.0)
    assert numbers["drivemim/pedestrian_AP[condition day]"] == 0.0


def test_no_detections_and_no_ground_truth_and_no_images():
    numbers = evaluate([sample([instance(BOX)])])
    assert numbers["drivemim/pedestrian_AP"] == 0.0
    assert numbers["drivemim/pedestrian_AR"] == 0.0
    numbers = evaluate([sample([], [BOX], [0], [0.9])])
    assert math.isnan(numbers["drivemim/pedestrian_AP"])
    assert math.isnan(numbers["drivemim/mAP"])
    metric = DetectionAP()
    metric.dataset_meta = {"classes": CLASSES}
    assert math.isnan(metric.compute_metrics([])["mAP"])


def random_samples(seed, images=25):
    """Crowded images with near misses, ties in score, unknown distances and ignored objects."""
    generator = np.random.default_rng(seed)
    samples = []
    for _ in range(images):
        count = generator.integers(0, 12)
        corners = generator.uniform(0, 150, (count, 2))
        boxes = np.concatenate([corners, corners + generator.uniform(5, 60, (count, 2))], 1)
        labels = generator.integers(0, 2, count)
        distances = generator.choice([3.0, 19.0, 20.0, 33.0, 55.0, math.inf], count)
        visible = generator.integers(0, 5, count)
        ignored = generator.random(count) < 0.2
        instances = [
            {
                "bbox": boxes[row].tolist(),
                "bbox_label": int(labels[row]),
                "ignore_flag": int(ignored[row]),
                "distance": float(distances[row]),
                "visibility": int(visible[row]),
            }
            for row in range(count)
        ]
        jitter = boxes + generator.normal(0, 3, boxes.shape)
        stray = generator.uniform(0, 150, (generator.integers(0, 6), 2))
        found = np.concatenate([jitter, np.concatenate([stray, stray + 25], 1)])
        found_labels = generator.integers(0, 2, len(found))
        found_labels[:count] = np.where(generator.random(count) < 0.8, labels, 1 - labels)
        scores = np.round(generator.random(len(found)), 1)
        samples.append(
            sample(
                instances,
                found.tolist(),
                found_labels.tolist(),
                scores.tolist(),
                camera=str(generator.choice(["CAM_FRONT", "CAM_BACK"])),
                condition=str(generator.choice(["day", "night", "night rain"])),
            )
        )
    return samples


def plain_coco(samples, inside=lambda each: True):
    """(AP, AP50, AR) of each class by pycocotools, with the slice as an area range of its own."""
    truth, found = [], []
    for image, each in enumerate(samples, 1):
        for one in each["instances"]:
            x1, y1, x2, y2 = one["bbox"]
            counts = not one["ignore_flag"] and inside(one)
            truth.append(
                dict(id=len(truth) + 1, image_id=image, category_id=one["bbox_label"], iscrowd=0)
                | dict(bbox=[x1, y1, x2 - x1, y2 - y1], area=float(counts))
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
        run.params.areaRng, run.params.areaRngLbl = [[0.5, 2.0]], ["slice"]
        run.params.maxDets = [100]
        run.evaluate()
        run.accumulate()

    def mean(values):
        return values[values > -1].mean() if (values > -1).any() else math.nan

    precision, recall = run.eval["precision"], run.eval["recall"]
    return [
        (mean(precision[:, :, row, 0, 0]), mean(precision[0, :, row, 0, 0]), mean(recall[:, row]))
        for row in range(2)
    ]


SLICES = {
    "all": lambda each: True,
    "distance 0-20 m": lambda each: each["distance"] < 20,
    "distance 20-40 m": lambda each: 20 <= each["distance"] < 40,
    "distance 40+ m": lambda each: 40 <= each["distance"] < math.inf,
    **{f"visibility {n}": (lambda each, n=n: each["visibility"] == n) for n in (1, 2, 3, 4)},
}


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_every_number_agrees_with_pycocotools(seed):
    samples = random_samples(seed)
    metric = DetectionAP()
    metric.process(None, samples)
    table = metric.score(metric.results, CLASSES)
    expected = {name: plain_coco(samples, inside) for name, inside in SLICES.items()}
    for key in "camera", "condition":
        for word in {word for each in samples for word in each[key].split()}:
            part = [each for each in samples if word in each[key].split()]
            expected[f"{key} {word}"] = plain_coco(part)
    assert set(expected) == set(table) - {"condition dusk"}
    for name, classes in expected.items():
        for score, (ap, ap50, ar) in zip(table[name], classes, strict=True):
            assert [score.ap, score.ap50, score.ar] == pytest.approx([ap, ap50, ar], nan_ok=True)


def test_the_table_prints_a_dash_for_an_empty_slice():
    metric = DetectionAP(slices=("distance",))
    metric.process(None, [sample([instance(BOX, distance=5.0)], [BOX], [0], [0.9])])
    lines = format_table(metric.score(metric.results, CLASSES), CLASSES).splitlines()
    assert lines[0].split() == ["slice", *_header()]
    assert lines[2].split() == ["all", "100.0", "100.0", "100.0", "1", "-", "-", "-", "0"]
    assert lines[4].split()[-8:] == ["-", "-", "-", "0", "-", "-", "-", "0"]
    assert len({len(line) for line in lines}) == 1


def _header():
    return " ".join(
        f"{name} {n}" for name in CLASSES for n in ("AP", "AP50", "AR", "count")
    ).split()


def test_mistakes_are_named():
    with pytest.raises(ValueError, match="weather unknown"):
        DetectionAP(slices=("weather",))
    broken = sample([])
    del broken["instances"]
    with pytest.raises(ValueError, match=r"no ground truth with frame\.jpg"):
        DetectionAP().process(None, [broken])
    with pytest.raises(ValueError, match="name its classes"):
        DetectionAP().compute_metrics([])


def test_importing_the_metrics_imports_no_detector():
    code = "import sys, drivemim.evaluation; print('mmdet' in sys.modules, 'mmcv' in sys.modules)"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert result.stdout.split() == ["False", "False"], result.stderr
