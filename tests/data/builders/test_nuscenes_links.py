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


REFUSED = {
    "prev of another object": (
        _previous_of_another_object, "has a prev of another instance \\(1 such"
    ),
    "prev and next exchanged": (_exchange, "has a prev that is not earlier than itself"),
    "object twice in a sample": (
        _twice_in_a_sample, "'second' annotates an instance a second time in the same sample"
    ),
    "file of two rows": (_one_file_for_two_rows, "names the file of an earlier row \\(1 such"),
    "scene without samples": (
        _scene_without_samples, "'nothing' has an empty first_sample_token \\(1 such"
    ),
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
