"""Matching, by hand and against pycocotools on crowded images."""

import math

import numpy as np
import pytest
from detection_samples import instance, random_samples, sample
from pycocotools.mask import iou as coco_iou

from drivemim.evaluation import detection_matching as module
from drivemim.evaluation.detection_matching import THRESHOLDS, UNMATCHED, match_detections
from drivemim.evaluation.records import image_record, join_records


def match(samples, **options):
    objects, detections = join_records([image_record(each) for each in samples])
    return match_detections(objects, detections, **options)


def row(x, width=10, height=10):
    return [float(x), 0.0, float(x + width), float(height)]


def test_the_best_scored_chooses_first_and_takes_the_nearest():
    # Of 10 pixels, shifted by 2: IoU 8 / 12; by 3: 7 / 13; by 1: 9 / 11.
    truth = [instance(row(0)), instance(row(5))]
    matches = match([sample(truth, [row(2), row(3), row(1)], [0] * 3, [0.5, 0.9, 0.7])])
    # 3 takes the object at 5 (8 / 12 against 7 / 13), 1 the one at 0; nothing is left for 2.
    assert matches.objects_TD[0].tolist() == [UNMATCHED, 1, 0]
    # At IoU 0.7 (row 4) only the shift by 1 is near enough.
    assert matches.objects_TD[4].tolist() == [UNMATCHED, UNMATCHED, 0]
    assert matches.objects_TD[9].tolist() == [UNMATCHED] * 3


def test_an_ignored_object_is_the_last_choice():
    ignored = {**instance(row(0)), "ignore_flag": 1}
    matches = match([sample([ignored, instance(row(2))], [row(0)], [0], [0.9])])
    assert matches.objects_TD[:4, 0].tolist() == [1] * 4  # IoU 8 / 12
    assert matches.objects_TD[4:, 0].tolist() == [0] * 6


def test_an_exact_box_matches_at_every_threshold_and_only_in_its_image_and_class():
    boxes = [[0.1, 0.2, 17.3, 9.7]]
    here = sample([instance(boxes[0], 1)], boxes, [1], [0.9])
    other_class = sample([instance(boxes[0], 0)], boxes, [1], [0.9])
    elsewhere = [sample([instance(boxes[0], 1)]), sample([], boxes, [1], [0.9])]
    matches = match([here, other_class, *elsewhere])
    assert matches.objects_TD.T.tolist() == [[0] * 10, [UNMATCHED] * 10, [UNMATCHED] * 10]


def test_only_so_many_of_a_class_in_an_image():
    truth = [instance(row(0)), instance(row(20))]
    found = sample(truth, [row(20), row(0), row(0)], [0, 0, 1], [0.5, 0.9, 0.1])
    matches = match([found], max_detections=1)
    assert matches.kept_D.tolist() == [False, True, True]
    assert matches.objects_TD[0].tolist() == [UNMATCHED, 0, UNMATCHED]


def test_boxes_without_area():
    flat = [5.0, 5.0, 5.0, 20.0]
    matches = match([sample([instance(flat)], [flat], [0], [0.9])])
    assert matches.objects_TD[0].tolist() == [UNMATCHED]
    assert match([]).objects_TD.shape == (10, 0)
    assert match([sample([])]).objects_TD.shape == (10, 0)


def greedy(each, label, threshold):
    """The object each detection takes, one after the other; pycocotools' own IoU."""
    truth = [one for one in each["instances"] if one["bbox_label"] == label]
    predicted = each["pred_instances"]
    rows = np.flatnonzero(predicted["labels"].numpy() == label)
    if len(truth) == 0 or len(rows) == 0:
        return dict.fromkeys(rows.tolist())

    def sides(boxes):
        boxes = np.asarray(boxes, float).reshape(-1, 4)
        return np.concatenate([boxes[:, :2], boxes[:, 2:] - boxes[:, :2]], axis=1)

    ious = coco_iou(
        sides(predicted["bboxes"].numpy()[rows]),
        sides([one["bbox"] for one in truth]),
        [one["crowd"] for one in truth],
    )
    free, taken = set(range(len(truth))), {}
    for place in np.argsort(-predicted["scores"].numpy()[rows], kind="stable"):
        near = [
            (not truth[one]["ignore_flag"], ious[place, one], one)
            for one in free
            if ious[place, one] >= threshold
        ]
        chosen = max(near)[2] if near else None
        free -= {chosen} if near and not truth[chosen]["crowd"] else set()
        taken[int(rows[place])] = truth[chosen]["bbox"] if near else None
    return taken


@pytest.mark.parametrize("chunk", [1 << 18, 7])
def test_every_match_of_crowded_images(chunk, monkeypatch):
    monkeypatch.setattr(module, "_CHUNK", chunk)
    samples = random_samples(4, images=40)
    matches = match(samples)
    boxes = [one["bbox"] for each in samples for one in each["instances"]]
    start, found = 0, 0
    for each in samples:
        count = len(each["pred_instances"]["labels"])
        for number, threshold in enumerate(THRESHOLDS):
            expected = greedy(each, 0, threshold) | greedy(each, 1, threshold)
            for detection in range(count):
                match_row = matches.objects_TD[number, start + detection]
                box = None if match_row == UNMATCHED else boxes[match_row]
                assert box == expected[detection]
                found += box is not None
        start += count
    assert found > 300
    assert math.isclose(THRESHOLDS[-1], 0.95)
