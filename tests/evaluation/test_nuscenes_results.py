"""Results files: written files are valid, and invalid entries are refused with their sample."""

import copy
import json
import math

import numpy as np
import pytest

from drivemim.data.classes import CLASS_ATTRIBUTES, DETECTION_CLASSES
from drivemim.errors import DataError
from drivemim.evaluation.nuscenes_results import (
    MAX_BOXES,
    SamplePoses,
    check_results,
    results_document,
)
from drivemim.evaluation.view_merging import GlobalBoxes

SAMPLES = 4


def yaw_rotation(yaw):
    return [math.cos(yaw / 2), 0.0, 0.0, math.sin(yaw / 2)]


@pytest.fixture
def samples():
    """A vehicle at (411, 1181) that drives 3 m between samples, turned to the left by 0.5."""
    steps = np.arange(SAMPLES)
    along = np.array([math.cos(0.5), math.sin(0.5), 0.0])
    return SamplePoses(
        tokens=tuple(f"sample-{step}" for step in steps),
        positions_S3=np.array([411.0, 1181.0, 0.0]) + 3.0 * steps[:, None] * along,
        rotations_S4=np.tile(yaw_rotation(0.5), (SAMPLES, 1)),
        scenes_S=np.zeros(SAMPLES, np.int64),
        timestamps_S=steps * 500_000,
    )


@pytest.fixture
def document(samples):
    """Ten objects around the vehicle in every sample; cars and trucks drive 5 m/s forwards."""
    results = {}
    for step, token in enumerate(samples.tokens):
        boxes = []
        for number, name in enumerate(DETECTION_CLASSES):
            yaw = 2 * math.pi * number / 10 + 0.2
            fast = 5.0 if name in ("car", "truck", "bus", "motorcycle") else 0.0
            place = np.array([411 + 15 * math.cos(yaw), 1181 + 15 * math.sin(yaw)])
            place = place + 0.5 * step * fast * np.array([math.cos(yaw), math.sin(yaw)])
            boxes.append({
                "sample_token": token,
                "translation": [*place.tolist(), 0.9],
                "size": [1.9, 4.5, 1.6],
                "rotation": yaw_rotation(yaw),
                "velocity": [fast * math.cos(yaw), fast * math.sin(yaw)],
                "detection_name": name,
                "detection_score": 0.05 + 0.09 * number,
                "attribute_name": (*CLASS_ATTRIBUTES[name], "")[0],
            })  # fmt: skip
        results[token] = boxes
    meta = {"use_camera": True, "use_lidar": False, "use_radar": False, "use_map": False}
    return {"meta": {**meta, "use_external": False}, "results": results}


def refused(document, samples, message):
    with pytest.raises(DataError, match=message) as caught:
        check_results(document, samples)
    assert len(str(caught.value)) < 500
    return str(caught.value)


def every_box(document):
    return [box for boxes in document["results"].values() for box in boxes]


def test_good_results_pass(document, samples):
    check_results(document, samples)
    document["results"]["sample-1"] = []
    every_box(document)[0]["attribute_name"] = ""  # not known
    every_box(document)[0]["detection_score"] = 1  # JSON does not tell 1 from 1.0
    check_results(document, samples)
    check_results({**document, "results": {token: [] for token in samples.tokens}}, samples)


def damage(**changes):
    def apply(document):
        document["results"]["sample-2"][3].update(changes)

    return apply


def without(key):
    def apply(document):
        del document["results"]["sample-2"][3][key]

    return apply


def too_many(document):
    document["results"]["sample-2"] = [document["results"]["sample-2"][0]] * (MAX_BOXES + 1)


def forget(document):
    del document["results"]["sample-2"]


def add_unknown(document):
    document["results"]["elsewhere"] = []


def no_list(document):
    document["results"]["sample-2"] = {}


BROKEN = {
    "NaN centre": (damage(translation=[411.0, math.nan, 1.0]), "translation .* finite metres"),
    "infinite centre": (damage(translation=[math.inf, 1181.0, 1.0]), "translation"),
    "NaN velocity": (damage(velocity=[math.nan, 0.0]), "velocity .* write 0"),
    "NaN size": (damage(size=[1.0, math.nan, 1.0]), "size"),
    "no size": (damage(size=[1.0, 0.0, 1.0]), "size .* above 0"),
    "negative size": (damage(size=[-1.0, 1.0, 1.0]), "size"),
    "score over 1": (damage(detection_score=1.5), r"detection_score 1.5 must be in \[0, 1\]"),
    "score under 0": (damage(detection_score=-0.1), "detection_score"),
    "NaN score": (damage(detection_score=math.nan), "detection_score"),
    "NaN rotation": (damage(rotation=[math.nan, 0.0, 0.0, 1.0]), "rotation"),
    "no rotation": (damage(rotation=[0.0, 0.0, 0.0, 0.0]), "rotation .* length 1"),
    "long rotation": (damage(rotation=[1.0, 0.0, 0.0, 1.0]), "rotation .* length 1"),
    "camera rotation": (damage(rotation=[0.8, 0.0, 0.6, 0.0]), "not a rotation about the global z"),
    "upside down": (damage(rotation=[0.0, 1.0, 0.0, 0.0]), "not a rotation about the global z"),
    "x y z w": (damage(rotation=[0.0, 0.0, 0.6, 0.8]), "w x y z"),
    "unknown class": (damage(detection_name="tram"), "'tram' is none of car"),
    "unknown attribute": (damage(attribute_name="vehicle.flying"), "'vehicle.flying' is none of"),
    "attribute of another class": (
        damage(attribute_name="pedestrian.moving"), "does not belong to trailer",
    ),
    "another sample's box": (damage(sample_token="sample-1"), "'sample-1' is not that"),
    "more than 500": (too_many, "501 boxes, more than the 500"),
    "text for a number": (damage(detection_score="0.5"), r"Expected `float`, got `str` .*\[3\]"),
    "two numbers": (damage(size=[1.0, 2.0]), r"length 3"),
    "null": (damage(velocity=None), "velocity"),
    "missing key": (without("velocity"), "missing required field `velocity`"),
    "missing sample": (forget, "is missing in the results; .* empty list"),
    "no list": (no_list, "Expected `array`"),
}  # fmt: skip


@pytest.mark.parametrize(("apply", "message"), BROKEN.values(), ids=BROKEN)
def test_every_damage_is_refused_by_its_sample(document, samples, apply, message):
    apply(document)
    assert "sample-2" in refused(document, samples, message)


def test_unknown_samples_are_named(document, samples):
    add_unknown(document)
    refused(document, samples, "sample elsewhere of the results is none of the 4")
    del document["results"]["sample-1"], document["results"]["sample-3"]
    refused(document, samples, r"sample sample-1 is missing in the results \(and 1 more\)")


def test_the_official_frame_of_the_document_is_needed(document, samples):
    refused({"results": document["results"]}, samples, "lack the object 'meta'")
    refused({"meta": document["meta"], "results": []}, samples, "lack the object 'results'")
    del document["meta"]["use_radar"]
    refused(document, samples, "meta of the results must say use_radar")


def turn(document, change):
    for box in every_box(document):
        yaw = 2 * math.atan2(box["rotation"][3], box["rotation"][0])
        box["rotation"] = yaw_rotation(change(yaw))


def test_turned_and_mirrored_headings_are_refused(document, samples):
    readings = {
        "turned by 180 degrees": lambda yaw: yaw + math.pi,
        "turned by 90 degrees to the left": lambda yaw: yaw + math.pi / 2,
        "turned by 90 degrees to the right": lambda yaw: yaw - math.pi / 2,
    }
    for message, change in readings.items():
        broken = copy.deepcopy(document)
        turn(broken, change)
        assert "in sample sample-" in refused(broken, samples, message)
        check_results(broken, samples, headings=False)
    # Traffic along the y axis, where a change of sign turns vehicles around.
    for box in every_box(document):
        if any(box["velocity"]):
            box["velocity"], box["rotation"] = [0.0, 5.0], yaw_rotation(math.pi / 2)
    check_results(document, samples)
    turn(document, lambda yaw: -yaw)
    refused(document, samples, "turned by 180 degrees|of the opposite sign")


def test_mirrored_headings_are_refused_though_most_traffic_looks_the_same(document, samples):
    # Three of four cars drive along the x axis, where a change of sign is none: 22 degrees off.
    fast = [box for box in every_box(document) if any(box["velocity"])]
    for number, box in enumerate(fast):
        yaw = math.pi * (number % 2) if number % 4 else math.pi / 4
        box["rotation"] = yaw_rotation(yaw)
        box["velocity"] = [5 * math.cos(yaw), 5 * math.sin(yaw)]
    check_results(document, samples)
    turn(document, lambda yaw: -yaw)
    refused(document, samples, "22 degrees off on average .* opposite sign")


def test_headings_or_velocities_of_the_vehicles_frame_are_refused(document, samples):
    headings, velocities = copy.deepcopy(document), copy.deepcopy(document)
    turn(headings, lambda yaw: yaw - 0.5)
    refused(headings, samples, "rotation looks like the vehicle's frame")
    for box in every_box(velocities):
        x, y = box["velocity"]
        c, s = math.cos(0.5), math.sin(0.5)
        box["velocity"] = [c * x + s * y, -s * x + c * y]
    refused(velocities, samples, "velocity looks like the vehicle's frame")


def test_traffic_that_keeps_pace_near_the_origin_passes(document, samples):
    """In vehicle coordinates it would not move at all."""
    samples.positions_S3[:] -= samples.positions_S3[0]
    along = samples.positions_S3[1] / 0.5
    for token, position in zip(samples.tokens, samples.positions_S3, strict=True):
        for number, box in enumerate(document["results"][token]):
            yaw = 2 * math.pi * number / 10
            around = np.array([15 * math.cos(yaw), 15 * math.sin(yaw), 0.9])
            box["translation"] = (position + around).tolist()
            box["velocity"] = along[:2].tolist()
            box["rotation"] = yaw_rotation(0.5)
    check_results(document, samples)


def test_a_detector_that_is_a_little_off_passes_though_its_mirror_image_is_too(document, samples):
    for box in every_box(document):
        if any(box["velocity"]):
            box["velocity"], box["rotation"] = [5.0, 0.0], yaw_rotation(math.radians(20))
    check_results(document, samples)


def test_a_detector_that_does_not_know_headings_passes(document, samples):
    generator = np.random.default_rng(0)
    turn(document, lambda yaw: yaw + generator.uniform(-math.pi, math.pi))
    check_results(document, samples)
    # So does one that has few fast vehicles to judge by.
    turn(document, lambda yaw: yaw + math.pi)
    for boxes in document["results"].values():
        boxes[1:] = [box for box in boxes[1:] if not any(box["velocity"])]
    check_results(document, samples)


def to_vehicle(samples, document):
    """The same boxes in the vehicle's frame."""
    for token, position in zip(samples.tokens, samples.positions_S3, strict=True):
        for box in document["results"][token]:
            x, y = (np.array(box["translation"][:2]) - position[:2]).tolist()
            c, s = math.cos(0.5), math.sin(0.5)
            box["translation"][:2] = [c * x + s * y, -s * x + c * y]


def test_vehicle_coordinates_are_refused(document, samples):
    to_vehicle(samples, document)
    message = refused(document, samples, "from the vehicle at")
    assert "sample-0" in message
    assert "around the origin instead" in message


@pytest.mark.parametrize("origin", [(0.0, 0.0), (20.0, -10.0)])
def test_vehicle_coordinates_are_refused_near_the_origin_too(document, samples, origin):
    """Objects that move with the vehicle are detected even if distances are plausible."""
    shift = np.array([*origin, 0.0]) - samples.positions_S3[0]
    samples.positions_S3[:] += shift
    for box in every_box(document):
        box["translation"] = (np.array(box["translation"]) + shift).tolist()
    check_results(document, samples)
    to_vehicle(samples, document)
    refused(document, samples, "vehicle coordinates")


def test_camera_coordinates_are_refused(document, samples):
    near = copy.deepcopy(samples)
    near.positions_S3[:] -= samples.positions_S3[0]
    for token, position in zip(samples.tokens, samples.positions_S3, strict=True):
        for box in document["results"][token]:
            x, y, z = (np.array(box["translation"]) - position).tolist()
            box["translation"] = [-y, 1.5 - z, abs(x)]
    refused(document, samples, "sample sample-0 are .* around the origin")
    refused(document, near, "z is up; these look like a camera's")


def test_boxes_of_another_sample_are_refused(document, samples):
    samples.positions_S3[2] += [900.0, -300.0, 0.0]  # as if the token were another scene's
    assert "sample-2" in refused(document, samples, "are they of another sample")


def test_far_boxes_of_a_poor_detector_pass(document, samples):
    for boxes in document["results"].values():
        boxes[0]["translation"] = [411.0, 1181.0 + 300, 40.0]
    check_results(document, samples)


@pytest.mark.parametrize("place", [(411.0, 1181.0), (0.0, 0.0)])
def test_a_detector_that_does_not_know_heights_passes(document, samples, place):
    """Untrained, most of its boxes are far above or below; no other frame explains them."""
    shift = np.array([*place, 0.0]) - samples.positions_S3[0]
    samples.positions_S3[:] += shift
    for number, box in enumerate(every_box(document)):
        height = 20.0 + number if number % 4 else -30.0
        x, y, _ = (np.array(box["translation"]) + shift).tolist()
        box["translation"] = [x, y, height]
    check_results(document, samples)


def test_written_and_read_back_as_the_devkit_does(tmp_path, samples, document):
    from nuscenes.eval.common.loaders import load_prediction
    from nuscenes.eval.detection.data_classes import DetectionBox

    boxes = GlobalBoxes(
        centers_M3=np.array([[411.25, 1180.0, 0.5], [400.0, 1181.0, 1.0]]),
        sizes_M3=np.array([[2.0, 4.0, 1.5], [0.5, 0.6, 1.8]]),
        rotations_M4=np.array([yaw_rotation(0.3), yaw_rotation(-2.0)]),
        velocities_M2=np.array([[1.0, -2.0], [0.0, 0.0]]),
        scores_M=np.array([0.75, 0.5]),
        labels_M=np.array([0, 5]),
        attributes_M=np.array([-1, 4]),
    )
    made = results_document({"sample-1": boxes}, samples.tokens)
    check_results(made, samples)
    path = tmp_path / "results.json"
    path.write_text(json.dumps(made))
    loaded, meta = load_prediction(str(path), MAX_BOXES, DetectionBox)
    assert meta == document["meta"]
    assert list(loaded.boxes) == list(samples.tokens)
    first, second = loaded["sample-1"]
    assert first.translation == (411.25, 1180.0, 0.5)
    assert (first.size, first.velocity) == ((2.0, 4.0, 1.5), (1.0, -2.0))
    assert (first.detection_name, first.detection_score, first.attribute_name) == ("car", 0.75, "")
    assert (second.detection_name, second.attribute_name) == ("pedestrian", "pedestrian.standing")
