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
    _without_links(tables)


def _without_links(tables):
    for row in tables["sample_data"]:
        row.update(prev="", next="")


def _sweeps_of(tables, scene):
    scenes = {row["token"]: row["scene_token"] for row in tables["sample"]}
    sweeps = [row for row in tables["sample_data"] if not row["is_key_frame"]]
    return [row for row in sweeps if scenes[row["sample_token"]] == f"{scene}-token"]


def _sweeps_of_another_scene(tables):
    """The sweeps of one scene, validation in the official split, name a sample of another."""
    for row in _sweeps_of(tables, "scene-0103"):
        row["sample_token"] = "scene-0061-sample-1"


def _sweeps_of_another_scene_without_links(tables):
    _sweeps_of_another_scene(tables)
    _without_links(tables)


def _sweep_far_after_the_scene(tables):
    """The last sweep follows the last sample by a sixth of a second, minus 10 ms."""
    row = max(_sweeps_of(tables, "scene-0103"), key=lambda row: row["timestamp"])
    row["timestamp"] += 1_000_000 - 166_667 + 10_000 + 1


def _sample_data_of_the_next_scene(tables):
    rows = [row for row in tables["sample_data"] if "CAM_FRONT-" in row["token"]]
    last = [max((row for row in rows if scene in row["token"]), key=lambda row: row["timestamp"])
            for scene in ("scene-0061", "scene-0103")]  # fmt: skip
    last.sort(key=lambda row: row["timestamp"])
    last[0]["next"] = last[1]["token"]


def _itself(table, column):
    def change(tables):
        for row in tables[table]:
            row[column] = row["token"]

    return change


def _lidar_twice(tables):
    rows = [row for row in tables["sample_data"]
            if "LIDAR" in row["token"] and row["is_key_frame"]]  # fmt: skip
    scene = rows[0]["token"].partition("-LIDAR")[0]
    own = [row for row in rows if row["token"].startswith(scene)]
    own[1].update(sample_token=own[0]["sample_token"])


def _lidar_of_another_scene(tables):
    rows = [row for row in tables["sample_data"]
            if "LIDAR" in row["token"] and row["is_key_frame"]]  # fmt: skip
    _without_links(tables)
    other = next(row for row in rows if row["token"][:10] != rows[0]["token"][:10])
    rows[0]["sample_token"], other["sample_token"] = other["sample_token"], rows[0]["sample_token"]


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
    "sweeps of another scene": (
        _sweeps_of_another_scene, r"sample_data.json: .* has a (prev|next) of another scene"
    ),
    "sweeps of another scene without links": (
        _sweeps_of_another_scene_without_links,
        r"is a sweep more than 1 s before or after all samples of its scene \(5 such"
    ),
    "sweep far after the scene": (
        _sweep_far_after_the_scene, r"'scene-0103-CAM_FRONT-7' is a sweep more .* \(1 such"
    ),
    "image of the next scene": (
        _sample_data_of_the_next_scene, r"sample_data.json: .* a next of another scene \(1 such"
    ),
    **{
        f"{column} of {table} is itself": (
            _itself(table, column), f"{table}.json: .* has a {column} that is the row itself"
        )
        for table in ("sample", "sample_data", "sample_annotation") for column in ("prev", "next")
    },
    "two lidar keyframes": (
        _lidar_twice, r"are both keyframes of LIDAR_TOP for one sample \(1 such"
    ),
    "lidar keyframes of each other's scene": (
        _lidar_of_another_scene, r"LIDAR.* is a keyframe more than 1 s away from its sample \(2 "
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


def test_sweeps_may_leave_their_scene_by_a_second_or_a_gap_between_samples(tables, write, tmp_path):
    _sweep_far_after_the_scene(tables)
    for row in tables["sample_data"]:
        if row["token"] == "scene-0103-CAM_FRONT-7":
            row["timestamp"] -= 1
    build_nuscenes_index(write(tables), "v1.0-mini", tmp_path / "index.arrow")
