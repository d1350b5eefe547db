"""DetectionAP against hand-computed cases."""

import math
import subprocess
import sys
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from detection_samples import BOX, ELSEWHERE, instance, random_samples, sample
from mmengine.evaluator import Evaluator

from drivemim.errors import ConfigError, DataError
from drivemim.evaluation import DetectionAP

CLASSES = ("pedestrian", "vehicle")


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


def test_a_better_scored_false_positive_halves_precision():
    numbers = evaluate([sample([instance(BOX)], [ELSEWHERE, BOX], [0, 0], [0.9, 0.5])])
    assert numbers["drivemim/pedestrian_AP"] == pytest.approx(0.5)
    numbers = evaluate([sample([instance(BOX)], [ELSEWHERE, BOX], [0, 0], [0.5, 0.9])])
    assert numbers["drivemim/pedestrian_AP"] == pytest.approx(1.0)


def test_half_of_the_objects_found():
    # Recall stops at 0.5: of COCO's 101 recall points, 0.00 to 0.50 have precision 1.
    numbers = evaluate([sample([instance(BOX), instance(ELSEWHERE)], [BOX], [0], [0.9])])
    assert numbers["drivemim/pedestrian_AP"] == pytest.approx(51 / 101)
    assert numbers["drivemim/pedestrian_AR"] == pytest.approx(0.5)


def test_the_wrong_class_is_a_miss_and_a_false_positive():
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


def test_a_crowd_takes_any_number_of_detections_within_it():
    # Both detections lie in the crowd, which is many times their size; the third half outside.
    crowd = {**instance([0, 0, 200, 200]), "crowd": 1}
    inside, outside = [[10, 10, 30, 50], [60, 10, 80, 50]], [190, 10, 214, 50]
    object_box = [300, 300, 320, 320]
    found = [*inside, outside, object_box]
    other = sample([crowd, instance(object_box)], found, [0] * 4, [0.9, 0.8, 0.7, 0.6])
    numbers = evaluate([other])
    assert numbers["drivemim/pedestrian_AP"] == pytest.approx(0.5)
    assert numbers["drivemim/pedestrian_count"] == 1


def test_a_slice_ignores_objects_outside_but_not_false_positives():
    near, far = instance(BOX, distance=10.0), instance(ELSEWHERE, distance=50.0)
    boxes = [ELSEWHERE, [300, 300, 320, 320], BOX]
    numbers = evaluate([sample([near, far], boxes, [0, 0, 0], [0.9, 0.8, 0.7])])
    # Near: the far object's detection does not count, the false positive comes before the hit.
    assert numbers["drivemim/pedestrian_AP[distance 0-20 m]"] == pytest.approx(0.5)
    # Far: hit first.
    assert numbers["drivemim/pedestrian_AP[distance 40+ m]"] == pytest.approx(1.0)
    assert math.isnan(numbers["drivemim/pedestrian_AP[distance 20-40 m]"])
    assert numbers["drivemim/pedestrian_count[distance 0-20 m]"] == 1
    assert numbers["drivemim/pedestrian_count[distance 20-40 m]"] == 0


def test_a_detection_of_an_object_outside_the_slice_is_ignored():
    # Shifted by 5 of 20 pixels: IoU 15 / 25 = 0.6 with its neighbour.
    near, far = instance(BOX, distance=10.0), instance([15, 10, 35, 50], distance=50.0)
    numbers = evaluate([sample([near, far], [[15, 10, 35, 50]], [0], [0.9])])
    assert numbers["drivemim/pedestrian_AP50[distance 40+ m]"] == pytest.approx(1.0)
    # It overlaps the near object enough, but found the far one: ignored, and the near one missed.
    assert numbers["drivemim/pedestrian_AP50[distance 0-20 m]"] == 0.0
    assert numbers["drivemim/pedestrian_AR[distance 0-20 m]"] == 0.0
    # Were it to count as the near one's, the near one's own would be a false positive.
    boxes = [[15, 10, 35, 50], [8, 10, 28, 50]]
    numbers = evaluate([sample([near, far], boxes, [0, 0], [0.9, 0.8])])
    for part in ("0-20 m", "40+ m"):
        assert numbers[f"drivemim/pedestrian_AP50[distance {part}]"] == pytest.approx(1.0)


def test_moving_and_still():
    moving, still = instance(BOX, moving=1), instance(ELSEWHERE, moving=0)
    unknown = instance([200, 10, 230, 90], moving=-1)
    boxes = [[200, 10, 230, 90], ELSEWHERE, [300, 300, 320, 320], BOX]
    found = sample([moving, still, unknown], boxes, [0] * 4, [0.9, 0.8, 0.7, 0.6])
    numbers = evaluate([found])
    assert numbers["drivemim/pedestrian_AP[motion still]"] == pytest.approx(1.0)
    assert numbers["drivemim/pedestrian_AP[motion moving]"] == pytest.approx(0.5)
    assert numbers["drivemim/pedestrian_count[motion moving]"] == 1
    assert numbers["drivemim/pedestrian_count"] == 3


def test_false_positives_count_against_their_own_size():
    # Heights 30, 40 and 100; a false positive of height 20 before all of them.
    objects = [ELSEWHERE, BOX, [200, 10, 230, 110]]
    boxes = [[300, 300, 320, 320], *objects]
    found = sample([instance(box) for box in objects], boxes, [0] * 4, [0.9, 0.8, 0.7, 0.6])
    numbers = evaluate([found])
    assert numbers["drivemim/pedestrian_AP[size 0-32 px]"] == pytest.approx(0.5)
    assert numbers["drivemim/pedestrian_AP[size 32-96 px]"] == pytest.approx(1.0)
    assert numbers["drivemim/pedestrian_AP[size 96+ px]"] == pytest.approx(1.0)
    numbers = evaluate([found], size_edges=(25.0, 35.0))
    assert numbers["drivemim/pedestrian_AP[size 25-35 px]"] == pytest.approx(1.0)
    assert numbers["drivemim/pedestrian_count[size 35+ px]"] == 2


def test_miss_rate_and_calibration_have_names():
    # Ten images, one object each; found with score 0.9 in five of them; one false positive of 0.95.
    seen = [sample([instance(BOX)], [BOX], [0], [0.9]) for _ in range(5)]
    blind = [sample([instance(BOX)]) for _ in range(4)]
    fooled = sample([instance(BOX)], [ELSEWHERE], [0], [0.95])
    numbers = evaluate([*seen, *blind, fooled])
    # The false positive alone is 0.1 an image: everything is missed before, half from there on.
    # Of the nine rates 10^-2 ... 10^0, the fifth is 0.1.
    assert numbers["drivemim/pedestrian_LAMR"] == pytest.approx(0.5 ** (5 / 9))
    assert numbers["drivemim/pedestrian_LAMR[camera CAM_FRONT]"] == pytest.approx(0.5 ** (5 / 9))
    assert "drivemim/vehicle_LAMR" not in numbers
    # Both scores are in the range 14/15 to 1 or next to it: 0.9 is right 5 of 5, 0.95 never.
    assert numbers["drivemim/pedestrian_ECE"] == pytest.approx((5 * 0.1 + 0.95) / 6)
    assert math.isnan(numbers["drivemim/vehicle_ECE"])
    assert "drivemim/vehicle_LAMR" in evaluate([fooled], miss_rate_classes=("vehicle",))


def test_curves_are_kept_for_charts():
    metric = DetectionAP()
    metric.dataset_meta = {"classes": CLASSES}
    metric.process(None, [sample([instance(BOX)], [[10, 10, 30, 36.1]], [0], [0.9])])
    metric.compute_metrics(metric.results)
    curves = metric.curves["pedestrian"]
    # IoU 0.65: right at 0.50, wrong at 0.75.
    assert curves["precision_recall"]["IoU 0.50"] == [1.0] * 101
    assert curves["precision_recall"]["IoU 0.75"] == [0.0] * 101
    assert set(curves["miss_rate"]["miss_rate"]) == {0.0}
    assert curves["reliability"]["count"][13] == 1
    assert math.isnan(metric.curves["vehicle"]["miss_rate"]["miss_rate"][0])


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
    numbers = metric.compute_metrics([])
    assert math.isnan(numbers["mAP"])
    assert math.isnan(numbers["pedestrian_LAMR[condition night]"])


def test_names_are_known_before_an_evaluation():
    frames = SimpleNamespace(camera=np.array([2, 0, 1, 1]))
    index = SimpleNamespace(frames=frames, cameras=("CAM_BACK", "CAM_FRONT", "CAM_LEFT"))
    # The second frame and the last two: no frame is CAM_LEFT's.
    dataset = SimpleNamespace(index=index, rows=np.array([1, 2, 3]), metainfo={"classes": CLASSES})
    options = {"distance_edges": (0, 30), "miss_rate_classes": ("vehicle",)}
    expected = evaluate(random_samples(0), **options)
    assert "drivemim/vehicle_AP50[camera CAM_FRONT]" in expected
    assert DetectionAP(**options).names(dataset) == list(expected)


def test_mistakes_are_named():
    with pytest.raises(ConfigError, match="weather unknown"):
        DetectionAP(slices=("weather",))
    broken = sample([])
    del broken["instances"]
    with pytest.raises(ConfigError, match="distance_edges must be increasing metres"):
        DetectionAP(distance_edges=(20, 10))
    with pytest.raises(ConfigError, match="distance_edges must be increasing metres"):
        DetectionAP(distance_edges=(math.nan,))
    with pytest.raises(ConfigError, match="size_edges must be increasing pixels"):
        DetectionAP(size_edges=())
    with pytest.raises(ConfigError, match="class number 7, and the data has 2"):
        evaluate([sample([instance(BOX)], [BOX], [7], [0.9])])
    nowhere = [sample([instance(BOX)], camera="")]
    with pytest.raises(ConfigError, match="without its camera"):
        evaluate(nowhere)
    evaluate(nowhere, slices=("distance",))
    with pytest.raises(ConfigError, match="calibration_bins=0, but it takes at least 1"):
        DetectionAP(calibration_bins=0)
    with pytest.raises(ConfigError, match="'walker' is none of the data's pedestrian, vehicle"):
        evaluate([sample([])], miss_rate_classes=("walker",))
    with pytest.raises(ConfigError, match=r"no ground truth with frame\.jpg"):
        DetectionAP().process(None, [broken])
    with pytest.raises(DataError, match=r"scores for frame\.jpg are not all finite"):
        DetectionAP().process(None, [sample([], [BOX], [0], [math.nan])])
    with pytest.raises(ConfigError, match="name its classes"):
        DetectionAP().compute_metrics([])


def test_importing_the_metrics_imports_no_detector():
    code = "import sys, drivemim.evaluation; print('mmdet' in sys.modules, 'mmcv' in sys.modules)"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert result.stdout.split() == ["False", "False"], result.stderr


def test_a_class_scores_the_same_among_other_classes():
    """Two classes of five, at other positions, with objects and detections of three more."""
    samples = random_samples(3)
    five = ("tram", "vehicle", "cyclist", "animal", "pedestrian")
    random = np.random.default_rng(0)
    more = random_samples(4)
    widened = []
    for one, other in zip(samples, more, strict=True):
        found, added = one["pred_instances"], other["pred_instances"]
        own = 4 - 3 * found["labels"]
        others = torch.from_numpy(random.choice([0, 2], len(added["labels"])))
        widened.append({
            **one,
            "instances": [
                *({**each, "bbox_label": 4 - 3 * each["bbox_label"]} for each in one["instances"]),
                *({**each, "bbox_label": 2 * each["bbox_label"]} for each in other["instances"]),
            ],
            "pred_instances": {
                "bboxes": torch.cat([found["bboxes"], added["bboxes"]]),
                "labels": torch.cat([own, others]),
                "scores": torch.cat([found["scores"], added["scores"]]),
            },
        })  # fmt: skip
    two, metric = evaluate(samples), DetectionAP()
    metric.dataset_meta = {"classes": five}
    evaluator = Evaluator(metric)
    evaluator.dataset_meta = {"classes": five}
    evaluator.process(widened, None)
    numbers = evaluator.evaluate(len(widened))
    shared = [name for name in two if "/mA" not in name]
    assert len(shared) > 100
    assert {name: numbers[name] for name in shared} == pytest.approx(
        {name: two[name] for name in shared}, nan_ok=True, abs=0
    )
    # The mean is over the classes that have objects: not the animals.
    present = [numbers[f"drivemim/{name}_AP50"] for name in five if name != "animal"]
    assert numbers["drivemim/mAP50"] == pytest.approx(sum(present) / 4)
    assert numbers["drivemim/animal_count"] == 0
    assert math.isnan(numbers["drivemim/animal_AP50"])
    assert [name for name in numbers if name.endswith("_LAMR")] == ["drivemim/pedestrian_LAMR"]
