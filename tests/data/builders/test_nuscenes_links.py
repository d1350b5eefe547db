"""Rows of nuScenes tables that contradict each other: refused or reported with their token."""

import copy
import os

import numpy as np
import pytest

from drivemim.data.index.builders.frames import build_frames_index
from drivemim.data.index.builders.nuscenes import build_nuscenes_index
from drivemim.data.index.frame_index import FrameIndex


def _linked(rows):
    return next(row for row in rows if row["prev"])


def _previous_of_another_object(tables):
    rows = tables["sample_annotation"]
    row = _linked(rows)
    other = next(each for each in rows if each["instance_token"] != row["instance_token"])
    row["prev"] = other["token"]


def _exchange(tables):
    for row in tables["sample_annotation"]:
        row.update(prev=row["next"], next=row["prev"])


def _twice_in_a_sample(tables):
    row = copy.deepcopy(tables["sample_annotation"][0])
    row.update(token="second", prev="", next="")
    tables["sample_annotation"].append(row)


def _one_file_for_two_rows(tables):
    first, second = tables["sample_data"][:2]
    second["filename"] = first["filename"]


def _equal_scene_names(tables):
    for row in tables["scene"]:
        row["name"] = "scene-0061"


def _scene_without_samples(tables):
    tables["scene"].append({**tables["scene"][0], "token": "nothing", "name": "scene-0000",
                            "first_sample_token": "", "last_sample_token": ""})  # fmt: skip


def _samples_exchanged(tables):
    """A camera's keyframes belong to samples of each other's scenes."""
    keyframes = [row for row in tables["sample_data"] if row["is_key_frame"]]
    scenes = {row["token"]: row["scene_token"] for row in tables["sample"]}
    first = keyframes[0]
    other = next(row for row in keyframes
                 if scenes[row["sample_token"]] != scenes[first["sample_token"]])  # fmt: skip
    tokens = first["sample_token"], other["sample_token"]
    other["sample_token"], first["sample_token"] = tokens


def _sample_of_another_scene(tables):
    rows = tables["sample"]
    row = next(each for each in rows if each["prev"])
    other = next(each for each in rows if each["scene_token"] != row["scene_token"])
    row["prev"] = other["token"]


def _sweep_links_exchanged(tables):
    for row in tables["sample_data"]:
        row.update(prev=row["next"], next=row["prev"])


def _object_in_two_scenes(tables):
    scenes = {row["token"]: row["scene_token"] for row in tables["sample"]}
    rows = tables["sample_annotation"]
    for row in rows:
        row.update(prev="", next="")
    first = rows[0]
    other = next(row for row in rows
                 if scenes[row["sample_token"]] != scenes[first["sample_token"]])  # fmt: skip
    other["instance_token"] = first["instance_token"]


def _sensor_twice(tables):
    camera = next(row for row in tables["sensor"] if row["modality"] == "camera")
    tables["sensor"].append({**camera, "token": "again"})


def _file_by_another_spelling(tables):
    first, second = tables["sample_data"][:2]
    second["filename"] = "./" + first["filename"].replace("/", "//", 1)


REFUSED = {
    "prev of another object": (
        _previous_of_another_object, "has a prev of another instance \\(1 such"
    ),
    "prev and next exchanged": (_exchange, "has a prev that is later than itself"),
    "object twice in a sample": (
        _twice_in_a_sample, "'second' annotates an instance a second time in the same sample"
    ),
    "file of two rows": (_one_file_for_two_rows, "names the file of an earlier row \\(1 such"),
    "scene without samples": (
        _scene_without_samples, "'nothing' has an empty first_sample_token \\(1 such"
    ),
    "file by another spelling": (_file_by_another_spelling, "names the file of an earlier row"),
    "keyframes of each other's scene": (
        _samples_exchanged, "is a keyframe more than 1 s away from its sample \\(2 such"
    ),
    "sample of another scene": (_sample_of_another_scene, "has a prev of another scene"),
    "sweep links exchanged": (_sweep_links_exchanged, "sample_data.json.* prev that is later"),
    "object in two scenes": (_object_in_two_scenes, "an instance that another scene has, too"),
    "sensor twice": (_sensor_twice, "'again' has the channel of an earlier sensor"),
    "equal scene names": (_equal_scene_names, "has the name of an earlier scene"),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_contradictions_are_refused(tables, write, tmp_path, name):
    change, message = REFUSED[name]
    change(tables)
    with pytest.raises(ValueError, match=message):
        build_nuscenes_index(write(tables), "v1.0-mini", tmp_path / "index.arrow")


def test_boxes_without_links_are_reported(tables, write, tmp_path, caplog):
    for row in tables["sample_annotation"]:
        row.update(prev="", next="")
    path = build_nuscenes_index(write(tables), "v1.0-mini", tmp_path / "index.arrow")
    boxes = FrameIndex.open(path).boxes
    linked = int((boxes.previous >= 0).sum())
    assert linked > 0
    assert np.isnan(boxes.velocity).all()
    assert f"{linked} of {len(boxes)} boxes have neither prev nor next" in caplog.text


def test_a_name_that_is_not_unicode_is_refused(tmp_path):
    cv2 = pytest.importorskip("cv2")
    folder = os.fsencode(tmp_path / "frames") + b"\xff"
    os.mkdir(folder)
    encoded = cv2.imencode(".png", np.zeros((32, 32, 3), np.uint8))[1].tobytes()
    with open(folder + b"/a.png", "wb") as file:
        file.write(encoded)
    with pytest.raises(ValueError, match=r"frames\\udcff.*is not valid UTF-8; rename"):
        build_frames_index([tmp_path], tmp_path / "index.arrow")
