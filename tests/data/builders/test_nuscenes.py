import json
import os
import shlex
import shutil
from pathlib import Path

import numpy as np
import pytest
from nuscenes import NuScenes

from drivemim.data.clips.clip_dataset import ClipDataset
from drivemim.data.index.builders.nuscenes import build_nuscenes_index, has_word
from drivemim.data.index.builders.nuscenes_boxes import box_velocity, previous_boxes
from drivemim.data.index.frame_index import FrameIndex


def test_frames_are_sorted_by_scene_camera_and_time(small_index):
    index = FrameIndex.open(small_index)
    frames = index.frames
    assert index.cameras == ("CAM_BACK", "CAM_FRONT")
    # scene-0103 has one camera, scene-0061 two, of 8 frames each.
    assert frames.scene.tolist() == [0] * 8 + [1] * 16
    assert frames.camera.tolist() == [1] * 8 + [0] * 8 + [1] * 8
    assert frames.token[0] == "scene-0103-CAM_FRONT-0"
    assert frames.path[9] == "sweeps/CAM_BACK/scene-0061-CAM_BACK-1.jpg"
    assert frames.keyframe[:8].tolist() == [True, False, False] * 2 + [True, False]
    # Sweeps 1 and 2 belong to the second sample, the one after the last keyframe to the last.
    assert frames.sample[:8].tolist() == [0, 1, 1, 1, 2, 2, 2, 2]
    assert frames.previous[[0, 1, 8, 15]].tolist() == [-1, 0, -1, 14]
    assert frames.next[[0, 7, 8, 15]].tolist() == [1, -1, 9, -1]
    assert frames.calibrated.all()
    assert (np.diff(frames.key) > 0).all()


def test_frames_have_the_calibration_and_pose_of_their_own_time(small_index, small_devkit):
    index = FrameIndex.open(small_index)
    for row in range(len(index.frames)):
        data = small_devkit.get("sample_data", index.frames.token[row])
        mount = small_devkit.get("calibrated_sensor", data["calibrated_sensor_token"])
        pose = small_devkit.get("ego_pose", data["ego_pose_token"])
        assert index.frames.timestamp[row] == data["timestamp"]
        assert index.frames.intrinsics[row].tolist() == mount["camera_intrinsic"]
        assert index.frames.camera_to_ego[row].tolist() == mount["translation"] + mount["rotation"]
        assert index.frames.ego_to_global[row].tolist() == pose["translation"] + pose["rotation"]
        neighbours = [("prev", index.frames.previous[row]), ("next", index.frames.next[row])]
        for key, other in neighbours:
            assert data[key] == (index.frames.token[other] if other >= 0 else "")
        assert data["sample_token"] == index.samples.token[index.frames.sample[row]]


def test_samples_know_their_boxes_cameras_and_lidar(small_index):
    samples = FrameIndex.open(small_index).samples
    assert samples.token[0] == "scene-0103-sample-0"
    assert samples.token[5] == "scene-0061-sample-2"
    assert samples.keyframes.tolist() == [
        [-1, 0], [-1, 3], [-1, 6], [8, 16], [11, 19], [14, 22]
    ]  # fmt: skip
    assert samples.box_count.tolist() == [3, 2, 3, 3, 2, 3]
    assert samples.first_box.tolist() == [0, 3, 5, 8, 11, 13]
    assert samples.previous.tolist() == [-1, 0, 1, -1, 3, 4]
    assert samples.lidar_path[4] == "samples/LIDAR_TOP/scene-0061-LIDAR_TOP-3.pcd.bin"


def test_lidar_of_samples_is_the_devkits(tables, write, tmp_path):
    for number, row in enumerate(tables["calibrated_sensor"]):
        row["translation"] = [1.0, 0.0, float(number)]
    tables["sample_data"].reverse()  # the sweeps are not in the samples' order
    root = write(tables)
    samples = FrameIndex.open(
        build_nuscenes_index(root, "v1.0-mini", tmp_path / "index.arrow")
    ).samples
    devkit = NuScenes("v1.0-mini", str(root), verbose=False)
    for row, token in enumerate(samples.token):
        data = devkit.get("sample_data", devkit.get("sample", token)["data"]["LIDAR_TOP"])
        mount = devkit.get("calibrated_sensor", data["calibrated_sensor_token"])
        pose = devkit.get("ego_pose", data["ego_pose_token"])
        assert samples.lidar_path[row] == data["filename"]
        assert samples.lidar_to_ego[row].tolist() == mount["translation"] + mount["rotation"]
        assert samples.lidar_ego_to_global[row].tolist() == pose["translation"] + pose["rotation"]


def test_scenes_say_what_the_weather_is(small_index):
    scenes = FrameIndex.open(small_index).scenes
    assert list(scenes.name) == ["scene-0103", "scene-0061"]
    # "Training" holds the letters of rain, but not the word.
    assert scenes.rain.tolist() == [True, False]
    assert scenes.night.tolist() == [True, False]
    assert scenes.first_frame.tolist() == [[0, 0], [8, 16]]
    assert scenes.frame_count.tolist() == [[0, 8], [8, 8]]


@pytest.mark.parametrize(
    ("text", "rain"),
    [("Rain", True), ("heavy rain, bus", True), ("raining", True), ("train, drainage", False)],
)
def test_has_word(text, rain):
    assert has_word(text, "rain") is rain


def test_velocity_is_the_devkits(small_index, small_devkit):
    boxes = FrameIndex.open(small_index).boxes
    expected = [small_devkit.box_velocity(token)[:2] for token in boxes.token]
    assert np.isnan(boxes.velocity).any()
    np.testing.assert_allclose(boxes.velocity, expected, rtol=1e-12)


def test_velocity_by_hand():
    center = np.array([[0.0, 0, 0], [3, 4, 9], [9, 4, 0], [0, 0, 0], [5, 5, 5]])
    timestamp = np.array([0, 1_000_000, 3_000_000, 5_000_000, 5_000_000])
    before = np.array([-1, 0, 1, 2, -1])
    after = np.array([1, 2, 3, -1, -1])
    velocity = box_velocity(center, timestamp, before, after)
    np.testing.assert_allclose(velocity[0], [3, 4])  # forward, 1 s apart
    np.testing.assert_allclose(velocity[1], [3, 4 / 3])  # centred, exactly 3 s apart
    assert np.isnan(velocity[2:]).all()  # 4 s; 2 s; alone


def test_previous_boxes_are_those_of_the_sample_before():
    sample, track = np.array([0, 0, 1, 2, 2]), np.array([5, 7, 7, 5, 7])
    previous = previous_boxes(sample, track, np.array([-1, 0, 1]), tracks=8)
    # Track 5 is not in sample 1, so sample 2's box has none.
    assert previous.tolist() == [-1, -1, 1, -1, 2]
    assert previous_boxes(sample[:0], track[:0], np.array([-1]), tracks=0).tolist() == []


def test_boxes_point_to_names_and_tracks(small_index):
    index = FrameIndex.open(small_index)
    boxes = index.boxes
    first = list(boxes.token).index("scene-0061-walker-1")
    assert index.categories[boxes.category[first]] == "human.pedestrian.adult"
    assert index.attributes[boxes.attribute[first]] == "pedestrian.standing"
    assert index.tracks.token[boxes.track[first]] == "scene-0061-walker"
    assert (boxes.visibility[first], boxes.lidar_points[first]) == (2, 8)
    cyclist = list(boxes.token).index("scene-0061-cyclist-0")
    assert boxes.attribute[cyclist] == -1


@pytest.mark.parametrize(
    ("table", "row"),
    [("category", -1), ("attribute", 0), ("visibility", 1), ("instance", 1), ("sensor", 0),
     ("calibrated_sensor", 0), ("ego_pose", 3), ("log", 0), ("scene", 0), ("sample", 1),
     ("sample_data", 3), ("sample_annotation", 0)],
)  # fmt: skip
def test_a_missing_row_is_an_error_that_names_table_and_token(tables, write, tmp_path, table, row):
    token = tables[table].pop(row)["token"]
    root = write(tables)
    with pytest.raises(ValueError, match=rf"{table}\.json lacks the row '{token}'"):
        build_nuscenes_index(root, "v1.0-mini", tmp_path / "index.arrow", missing_images="ignore")
    assert not list(tmp_path.glob("*.arrow*"))


@pytest.mark.parametrize(
    ("table", "column", "value", "problem"),
    [
        ("calibrated_sensor", "camera_intrinsic", [], "has no 3 x 3 camera_intrinsic"),
        ("calibrated_sensor", "camera_intrinsic", [[1, 2, 3]], "has no 3 x 3 camera_intrinsic"),
        ("calibrated_sensor", "camera_intrinsic", [[1, 2, 3]] * 3, "of determinant 0"),
        ("calibrated_sensor", "rotation", [0, 0, 0, 0], "has a rotation of length 0"),
        ("ego_pose", "rotation", [0, 0, 0, 0], "has a rotation of length 0"),
        ("sample_annotation", "rotation", [0, 0, 0, 0], "has a rotation of length 0"),
        ("sample_annotation", "size", [1.9, -4.5, 1.6], "has a size that is not above 0"),
        ("sample_data", "width", 0, "is an image without a width or a height"),
    ],
)
def test_implausible_values_are_refused_by_name(
    tables, write, tmp_path, table, column, value, problem
):
    cameras = {each["token"] for each in tables["sensor"] if each["modality"] == "camera"}
    rigs = {
        each["token"] for each in tables["calibrated_sensor"] if each["sensor_token"] in cameras
    }
    row = next(
        each
        for each in tables[table]
        if each.get("sensor_token", each.get("calibrated_sensor_token")) in cameras | rigs | {None}
    )
    row[column] = value
    root = write(tables)
    with pytest.raises(ValueError, match=rf"{table}\.json: '{row['token']}' .*{problem}"):
        build_nuscenes_index(root, "v1.0-mini", tmp_path / "index.arrow", missing_images="ignore")


def test_a_duplicate_row_is_refused_by_token(tables, write, tmp_path):
    tables["sample_annotation"].append(tables["sample_annotation"][1])
    token, root = tables["sample_annotation"][1]["token"], write(tables)
    with pytest.raises(ValueError, match=rf"sample_annotation\.json has the row '{token}' more"):
        build_nuscenes_index(root, "v1.0-mini", tmp_path / "index.arrow", missing_images="ignore")


def test_backslashes_in_file_names_are_slashes(small_root, small_index, tmp_path):
    """A converter on Windows joined the folders with its own separator."""
    root = tmp_path / "windows"
    root.mkdir()
    for name in ("samples", "sweeps"):
        (root / name).symlink_to(small_root / name)
    shutil.copytree(small_root / "v1.0-mini", root / "v1.0-mini")
    table = root / "v1.0-mini" / "sample_data.json"
    rows = json.loads(table.read_text())
    for row in rows:
        row["filename"] = row["filename"].replace("/", "\\")
    table.write_text(json.dumps(rows))
    found = FrameIndex.open(build_nuscenes_index(root, "v1.0-mini", tmp_path / "index.arrow"))
    wanted = FrameIndex.open(small_index)
    assert list(found.frames.path) == list(wanted.frames.path)
    assert list(found.samples.lidar_path) == list(wanted.samples.lidar_path)


def test_a_missing_version_names_those_there_are(small_root, tmp_path):
    with pytest.raises(FileNotFoundError, match=r"v1\.0-trainval; .* has v1\.0-mini"):
        build_nuscenes_index(small_root, "v1.0-trainval", tmp_path / "index.arrow")


def test_a_missing_or_broken_table_is_named(tables, write, tmp_path):
    root = write(tables)
    out = tmp_path / "index.arrow"
    sample = root / "v1.0-mini" / "sample.json"
    whole = sample.read_text()
    sample.write_text(whole[:-20])
    with pytest.raises(ValueError, match=r"sample\.json: "):
        build_nuscenes_index(root, "v1.0-mini", out)
    sample.write_text("")
    with pytest.raises(ValueError, match=r"sample\.json is empty"):
        build_nuscenes_index(root, "v1.0-mini", out)
    rows = json.loads(whole)
    del rows[0]["timestamp"]
    sample.write_text(json.dumps(rows))
    with pytest.raises(ValueError, match=r"sample\.json: .*timestamp"):
        build_nuscenes_index(root, "v1.0-mini", out)
    sample.unlink()
    with pytest.raises(FileNotFoundError, match=r"sample\.json is missing"):
        build_nuscenes_index(root, "v1.0-mini", out)


@pytest.mark.parametrize("what", ["missing", "dangling", "empty", "folder", "chain"])
def test_a_name_in_a_folder_is_not_yet_an_image(tables, write, tmp_path, what):
    root, out = write(tables), tmp_path / "index.arrow"
    lost = root / "sweeps" / "CAM_FRONT" / "scene-0061-CAM_FRONT-2.jpg"
    lost.unlink()
    if what == "dangling":
        lost.symlink_to(tmp_path / "unplugged" / "2.jpg")
    elif what == "empty":
        lost.touch()
    elif what == "folder":
        lost.mkdir()
    elif what == "chain":
        lost.symlink_to(lost)
    problem = {
        "missing": "is missing", "dangling": "is a link to a missing file", "empty": "is empty",
        "folder": "is not a file", "chain": r"cannot be opened \(Too many levels",
    }[what]  # fmt: skip
    message = rf"scene-0061-CAM_FRONT-2\.jpg .*{problem}.*, 1 of 24 images"
    with pytest.raises(FileNotFoundError, match=message):
        build_nuscenes_index(root, "v1.0-mini", out)
    build_nuscenes_index(root, "v1.0-mini", out, missing_images="drop")
    assert len(FrameIndex.open(out).frames) == 23
    # A link to an image is one.
    if what == "dangling":
        (tmp_path / "unplugged").mkdir()
        (tmp_path / "unplugged" / "2.jpg").write_bytes(b"x")
        build_nuscenes_index(root, "v1.0-mini", out)
        assert len(FrameIndex.open(out).frames) == 24


def test_missing_images_stop_the_build_or_are_dropped(tables, write, tmp_path):
    root, out = write(tables), tmp_path / "my index.arrow"
    lost = root / "sweeps" / "CAM_FRONT" / "scene-0061-CAM_FRONT-2.jpg"
    lost.unlink()
    with pytest.raises(FileNotFoundError, match=r"scene-0061-CAM_FRONT-2\.jpg .* 1 of 24 images"):
        build_nuscenes_index(root, "v1.0-mini", out)
    build_nuscenes_index(root, "v1.0-mini", out, missing_images="drop")
    index = FrameIndex.open(out)
    assert len(index.frames) == 23
    assert "scene-0061-CAM_FRONT-2" not in list(index.frames.token)
    # Built again by its own command, it leaves them out again.
    command = ["drivemim", "index", "nuscenes", "--root", str(root), "--version", "v1.0-mini"]
    command += ["--missing-images", "drop", "--out", str(out)]
    assert shlex.split(index.info.command) == command
    build_nuscenes_index(root, "v1.0-mini", out, missing_images="ignore")
    assert len(FrameIndex.open(out).frames) == 24


def test_an_index_older_than_its_tables_says_how_to_rebuild(tables, write, tmp_path):
    root, out = write(tables), tmp_path / "index.arrow"
    build_nuscenes_index(root, "v1.0-mini", out)
    FrameIndex.open(out)
    table = root / "v1.0-mini" / "sample_annotation.json"
    # The changed table has the same length, and a later or earlier time: its content decides.
    table.write_text(table.read_text().replace('"1"', '"2"', 1))
    fix = r"rebuild with drivemim index nuscenes --root .* --version v1\.0-mini"
    for later in (10, -10):
        time = table.stat().st_mtime + later
        os.utime(table, (time, time))
        with pytest.raises(ValueError, match=rf"older than its tables: .*annotation\.json.* {fix}"):
            FrameIndex.open(out)
    build_nuscenes_index(root, "v1.0-mini", out)
    FrameIndex.open(out)


def test_a_test_split_without_annotations(tables, write, tmp_path):
    tables["instance"], tables["sample_annotation"] = [], []
    root = write(tables)
    index = FrameIndex.open(build_nuscenes_index(root, "v1.0-mini", tmp_path / "index.arrow"))
    assert (len(index.boxes), len(index.tracks), len(index.frames)) == (0, 0, 24)
    assert index.samples.box_count.tolist() == [0] * 6


def test_real_tables(real_data: Path, tmp_path):
    root = real_data / "surround-clips"
    index = FrameIndex.open(build_nuscenes_index(root, "v1.0-mini", tmp_path / "index.arrow"))
    assert (len(index.frames), len(index.samples), len(index.boxes)) == (27, 6, 325)
    # scene-0103 has lost its three rear cameras.
    missing = [index.cameras[number] for number in np.flatnonzero(index.samples.keyframes[3] < 0)]
    assert missing == ["CAM_BACK", "CAM_BACK_LEFT", "CAM_BACK_RIGHT"]


@pytest.mark.parametrize("orientation", [3, 6])
def test_images_that_exif_turns_are_refused(tables, write, tmp_path, set_orientation, orientation):
    root = write(tables)
    path = root / "samples" / "CAM_BACK" / "scene-0061-CAM_BACK-0.jpg"
    set_orientation(path, 1)
    index = build_nuscenes_index(root, "v1.0-mini", tmp_path / "index.arrow")
    set_orientation(path, orientation)
    match = rf"BACK-0\.jpg of frame scene-0061-CAM_BACK-0 has EXIF orientation {orientation}:"
    with pytest.raises(ValueError, match=match):
        build_nuscenes_index(root, "v1.0-mini", tmp_path / "index.arrow")
    # One image of each camera is looked at here, every image when it is read.
    build_nuscenes_index(root, "v1.0-mini", index, missing_images="ignore")
    with pytest.raises(ValueError, match=match):
        ClipDataset(index=index, image_size=(24, 32), scenes=["scene-0061"])[0]
