"""nuImages tables, small enough to check by hand, read by the devkit and by our builder."""

import json
import subprocess
import sys

import cv2
import numpy as np
import pytest
from nuimages import NuImages

from drivemim.data.boxes.ground_truth import frame_boxes
from drivemim.data.clips.clip_dataset import ClipDataset
from drivemim.data.detection.detection3d_dataset import FrameDetection3D
from drivemim.data.detection.detection_dataset import FrameDetection
from drivemim.data.index.builders.nuimages import NUIMAGES_TABLES, build_nuimages_index
from drivemim.data.index.frame_index import FrameIndex

WIDTH, HEIGHT = 64, 48
CAMERAS = ("CAM_FRONT", "CAM_BACK")
# Each sample: camera, images before and after the annotated one (6 and 6 where the log had them).
SAMPLES = {
    "crossing": ("CAM_FRONT", 6, 6),
    "depot": ("CAM_BACK", 2, 6),
    "alone": ("CAM_FRONT", 0, 0),
}
CATEGORIES = (
    "animal", "flat.driveable_surface", "human.pedestrian.adult", "vehicle.bicycle",
    "vehicle.bus.bendy", "vehicle.car", "vehicle.ego", "vehicle.emergency.police",
)  # fmt: skip
ATTRIBUTES = (
    "cycle.with_rider", "pedestrian.moving", "vehicle.moving", "vehicle.parked",
    "vehicle_light.emergency.flashing", "vertical_position.on_ground",
)  # fmt: skip
# Category, attributes and x1, y1, x2, y2 of each sample's boxes, in the order of the table.
BOXES = {
    "depot": [("vehicle.bus.bendy", ["vehicle.parked"], [0, 4, 40, 48])],
    "crossing": [
        ("vehicle.car", ["vehicle.moving"], [10, 20, 30, 32]),
        ("human.pedestrian.adult", ["pedestrian.moving"], [40, 18, 44, 30]),
        ("vehicle.emergency.police",
         ["vehicle_light.emergency.flashing", "vehicle.parked"], [-6, 10, 8, 20]),
        ("vehicle.bicycle", ["cycle.with_rider"], [50, 20, 56, 31]),
        ("animal", ["vertical_position.on_ground"], [1, 40, 5, 44]),
        ("vehicle.car", [], [60, 20, 64, 24]),
    ],
}  # fmt: skip


def make_tables():
    tables = {
        "attribute": [{"token": f"a-{n}", "name": n, "description": ""} for n in ATTRIBUTES],
        "category": [{"token": f"c-{n}", "name": n, "description": ""} for n in CATEGORIES],
        "sensor": [{"token": f"s-{n}", "channel": n, "modality": "camera"} for n in CAMERAS],
        "log": [{"token": "log", "logfile": "n003-2018-01-02", "vehicle": "n003",
                 "date_captured": "2018-01-02", "location": "singapore-onenorth"}],
        "surface_ann": [],
    }  # fmt: skip
    for name in ("calibrated_sensor", "ego_pose", "object_ann", "sample", "sample_data"):
        tables[name] = []
    for number, (sample, (camera, before, after)) in enumerate(SAMPLES.items()):
        tables["calibrated_sensor"].append({
            "token": f"{sample}-mount", "sensor_token": f"s-{camera}",
            "translation": [1.5, 0.0, 1.5 + number], "rotation": [0.5, -0.5, 0.5, -0.5],
            "camera_intrinsic": [[40.0 + number, 0, 32], [0, 40.0 + number, 24], [0, 0, 1]],
            "camera_distortion": [0.1, 0.0, 0.0, 0.0, 0.0],
        })  # fmt: skip
        start = 1_500_000_000_000_000 + number * 10_000_000
        tables["sample"].append({
            "token": sample, "timestamp": start, "log_token": "log",
            "key_camera_token": f"{sample}-{before}",
        })  # fmt: skip
        _add_images(tables, sample, camera, before, after, start)
    for sample, boxes in BOXES.items():
        tables["object_ann"] += [
            {"token": f"{sample}-box-{number}", "category_token": f"c-{category}", "bbox": bbox,
             "sample_data_token": f"{sample}-{SAMPLES[sample][1]}", "mask": None,
             "attribute_tokens": [f"a-{name}" for name in names]}
            for number, (category, names, bbox) in enumerate(boxes)
        ]  # fmt: skip
    tables["sample_data"].reverse()
    return tables


def _add_images(tables, sample, camera, before, after, start):
    count = before + 1 + after
    for step in range(count):
        token = f"{sample}-{step}"
        folder = "samples" if step == before else "sweeps"
        tables["ego_pose"].append({
            "token": token, "timestamp": start, "translation": [3.0 * step, 1.0, 0],
            "rotation": [1.0, 0.0, 0.0, 0.0], "rotation_rate": [0, 0, 0],
            "acceleration": [0, 0, 9.81], "speed": 6.0,
        })  # fmt: skip
        tables["sample_data"].append({
            "token": token, "sample_token": sample, "ego_pose_token": token,
            "calibrated_sensor_token": f"{sample}-mount", "fileformat": "jpg",
            "filename": f"{folder}/{camera}/{token}.jpg", "width": WIDTH, "height": HEIGHT,
            "timestamp": start + (step - before) * 500_000, "is_key_frame": step == before,
            "prev": f"{sample}-{step - 1}" if step else "",
            "next": f"{sample}-{step + 1}" if step + 1 < count else "",
        })  # fmt: skip


def write_data(root, tables, version="v1.0-mini"):
    folder = root / version
    folder.mkdir(parents=True)
    for name, rows in tables.items():
        (folder / f"{name}.json").write_text(json.dumps(rows))
    for row in tables["sample_data"]:
        path = root / row["filename"]
        path.parent.mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(path), np.full((HEIGHT, WIDTH, 3), 90, np.uint8))
    return root


@pytest.fixture
def tables():
    return make_tables()


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    return write_data(tmp_path_factory.mktemp("nuimages"), make_tables())


@pytest.fixture(scope="module")
def index(root):
    return FrameIndex.open(build_nuimages_index(root, "v1.0-mini", root / "index.arrow"))


@pytest.fixture(scope="module")
def devkit(root):
    return NuImages("v1.0-mini", str(root), lazy=False)


def test_every_image_is_the_devkits(index, devkit):
    assert (len(index.frames), len(index.scenes), len(index.samples)) == (13 + 9 + 1, 3, 23)
    scenes = {token: row for row, token in enumerate(index.scenes.token)}
    for sample in devkit.sample:
        rows = np.flatnonzero(index.frames.scene == scenes[sample["token"]])
        expected = devkit.get_sample_content(sample["token"])
        assert [index.frames.token[row] for row in rows] == expected
        assert index.frames.next[rows].tolist() == [*rows[1:].tolist(), -1]
        assert index.frames.previous[rows].tolist() == [-1, *rows[:-1].tolist()]
        key = rows[index.frames.keyframe[rows]]
        assert [index.frames.token[row] for row in key] == [sample["key_camera_token"]]
    assert (np.diff(index.frames.key) > 0).all()


def test_calibration_poses_and_paths_are_the_devkits(index, devkit):
    for row in range(len(index.frames)):
        data = devkit.get("sample_data", index.frames.token[row])
        mount = devkit.get("calibrated_sensor", data["calibrated_sensor_token"])
        pose = devkit.get("ego_pose", data["ego_pose_token"])
        sensor = devkit.shortcut("sample_data", "sensor", data["token"])
        assert index.cameras[index.frames.camera[row]] == sensor["channel"]
        assert index.frames.path[row] == data["filename"]
        assert index.frames.timestamp[row] == data["timestamp"]
        assert (index.frames.width[row], index.frames.height[row]) == (WIDTH, HEIGHT)
        assert index.frames.intrinsics[row].tolist() == mount["camera_intrinsic"]
        assert index.frames.camera_to_ego[row].tolist() == mount["translation"] + mount["rotation"]
        assert index.frames.ego_to_global[row].tolist() == pose["translation"] + pose["rotation"]


def test_every_box_is_the_devkits(index, devkit):
    compared = 0
    for sample in devkit.sample:
        (row,) = index.frame_rows([sample["key_camera_token"]])
        found = frame_boxes(index, np.array([row]), keep_unlabelled=True)
        tokens, _ = devkit.list_anns(sample["token"], verbose=False)
        assert [index.boxes.token[box] for box in found.box] == tokens
        for token, box, seen in zip(tokens, found.box, found.boxes, strict=True):
            annotation = devkit.get("object_ann", token)
            category = devkit.get("category", annotation["category_token"])["name"]
            assert index.categories[index.boxes.category[box]] == category
            assert index.boxes.image_box[box].tolist() == annotation["bbox"]
            inside = np.clip(annotation["bbox"], 0, [WIDTH, HEIGHT] * 2)
            assert seen.tolist() == inside.tolist()
            compared += 1
    assert compared == len(devkit.object_ann) == 7


def test_of_several_attributes_the_one_nuscenes_has_counts(index):
    names = [*index.attributes, None]
    found = {
        token: names[index.boxes.attribute[box]] for box, token in enumerate(index.boxes.token)
    }
    assert found == {
        "crossing-box-0": "vehicle.moving",
        "crossing-box-1": "pedestrian.moving",
        "crossing-box-2": "vehicle.parked",
        "crossing-box-3": "cycle.with_rider",
        "crossing-box-4": "vertical_position.on_ground",
        "crossing-box-5": None,
        "depot-box-0": "vehicle.parked",
    }
    (row,) = index.frame_rows(["crossing-6"])
    # Moving car and pedestrian, the police car that stands, and the car without a state.
    assert frame_boxes(index, np.array([row])).moving.tolist() == [1, 1, 0, -1]


def test_what_an_image_cannot_tell_is_unknown(index):
    assert np.isnan(index.boxes.center).all()
    assert np.isnan(index.boxes.velocity).all()
    assert index.boxes.visibility.tolist() == [0] * 7
    assert index.boxes.lidar_points.tolist() == [-1] * 7
    assert index.boxes.previous.tolist() == [-1] * 7
    assert len(set(index.boxes.track.tolist())) == len(index.tracks) == 7


def test_neighbours_have_no_boxes_of_their_own(index):
    found = frame_boxes(index, np.arange(len(index.frames)), keep_unlabelled=True)
    with_boxes = np.flatnonzero(np.diff(found.offsets))
    assert {index.frames.token[row] for row in with_boxes} == {"crossing-6", "depot-2"}
    assert index.samples.box_count.sum() == 7


def test_a_detector_is_given_keyframes_and_filters(index):
    dataset = FrameDetection(index=index.path, filters={"min_height": 11.0}, scenes="mini")
    infos = {info["frame_token"]: info for info in map(dataset.get_data_info, range(len(dataset)))}
    assert sorted(infos) == ["alone-0", "crossing-6", "depot-2"]
    flags = {
        tuple(each["bbox"]): (each["bbox_label"], each["ignore_flag"])
        for each in infos["crossing-6"]["instances"]
    }
    # Cars 12, 10 and 4 pixels high, a pedestrian of 12; bicycle and animal are neither class.
    assert flags == {
        (10, 20, 30, 32): (1, 0),
        (40, 18, 44, 30): (0, 0),
        (0, 10, 8, 20): (1, 1),
        (60, 20, 64, 24): (1, 1),
    }
    assert infos["alone-0"]["instances"] == []
    assert infos["depot-2"]["camera"] == "CAM_BACK"


def test_3d_detection_needs_boxes_that_are_3d(index):
    with pytest.raises(ValueError, match=r"box crossing-box-0 of .* is drawn in its image"):
        FrameDetection3D(index=index.path, filters={})


def test_clips_run_through_the_unlabelled_images(index):
    settings = dict(
        index=index.path,
        image_size=(24, 32),
        num_frames=3,
        single_camera=True,
        drop_incomplete=True,
    )
    # Windows of three: 11 of the 13 images, 7 of the 9, none of the one alone.
    for frame_interval in (None, 0.5):
        dataset = ClipDataset(**settings, frame_interval=frame_interval)
        assert len(dataset) == 11 + 7
        clip = dataset[0]
        assert clip.tokens == ((("crossing-0",), ("crossing-1",), ("crossing-2",)),)
        np.testing.assert_array_equal(np.diff(clip.timestamps_BTN[0, :, 0]), [500_000] * 2)
        # The vehicle drives 3 m from image to image.
        steps = np.diff(clip.camera_to_clip_BTN44[0, :, 0, :3, 3].numpy(), axis=0)
        np.testing.assert_allclose(steps, [[3, 0, 0]] * 2, atol=1e-5)


def test_keyframes_alone(root, tmp_path):
    out = build_nuimages_index(root, "v1.0-mini", tmp_path / "index.arrow", sweeps=False)
    index = FrameIndex.open(out)
    assert list(index.frames.token) == ["crossing-6", "depot-2", "alone-0"]
    assert index.samples.box_count.tolist() == [6, 1, 0]
    assert index.frames.next.tolist() == [-1, -1, -1]
    assert "--keyframes-only" in index.info.command


def test_missing_images_stop_the_build_or_are_dropped_with_their_boxes(tables, tmp_path):
    root, out = write_data(tmp_path / "data", tables), tmp_path / "index.arrow"
    (root / "samples" / "CAM_BACK" / "depot-2.jpg").unlink()
    with pytest.raises(FileNotFoundError, match=r"depot-2\.jpg .* 1 of 23 images"):
        build_nuimages_index(root, "v1.0-mini", out)
    index = FrameIndex.open(build_nuimages_index(root, "v1.0-mini", out, missing_images="drop"))
    assert (len(index.frames), len(index.boxes)) == (22, 6)
    assert index.scenes.sample_count.tolist() == [13, 8, 1]
    index = FrameIndex.open(build_nuimages_index(root, "v1.0-mini", out, missing_images="ignore"))
    assert (len(index.frames), len(index.boxes)) == (23, 7)
    with pytest.raises(ValueError, match="missing_images is 'warn'"):
        build_nuimages_index(root, "v1.0-mini", out, missing_images="warn")


@pytest.mark.parametrize("orientation", [3, 6])
def test_images_that_exif_turns_are_refused(tables, tmp_path, set_orientation, orientation):
    root = write_data(tmp_path, tables)
    for path in root.glob("*/CAM_BACK/*.jpg"):
        set_orientation(path, orientation)
    match = rf"jpg of frame .* has EXIF orientation {orientation}:"
    with pytest.raises(ValueError, match=match):
        build_nuimages_index(root, "v1.0-mini", tmp_path / "index.arrow")
    for path in root.glob("*/CAM_BACK/*.jpg"):
        set_orientation(path, 1)
    build_nuimages_index(root, "v1.0-mini", tmp_path / "index.arrow")


def test_a_test_split_without_boxes(tables, tmp_path):
    tables["object_ann"] = []
    root = write_data(tmp_path / "data", tables, "v1.0-test")
    index = FrameIndex.open(build_nuimages_index(root, "v1.0-test", tmp_path / "index.arrow"))
    assert (len(index.boxes), len(index.tracks), len(index.frames)) == (0, 0, 23)
    assert set(index.scenes.split) == {"test"}


@pytest.mark.parametrize(
    ("table", "row"),
    [("attribute", 2), ("calibrated_sensor", 0), ("category", 5), ("ego_pose", 3), ("log", 0),
     ("sample", 1), ("sample_data", 3), ("sensor", 0)],
)  # fmt: skip
def test_a_missing_row_is_an_error_that_names_table_and_token(tables, tmp_path, table, row):
    token = tables[table].pop(row)["token"]
    root = write_data(tmp_path / "data", tables)
    with pytest.raises(ValueError, match=rf"{table}\.json lacks the row '{token}'"):
        build_nuimages_index(root, "v1.0-mini", tmp_path / "index.arrow", missing_images="ignore")
    assert not list(tmp_path.glob("*.arrow*"))


@pytest.mark.parametrize("table", NUIMAGES_TABLES)
def test_a_missing_table_is_named(tables, tmp_path, table):
    root = write_data(tmp_path / "data", tables)
    (root / "v1.0-mini" / f"{table}.json").unlink()
    with pytest.raises(FileNotFoundError, match=rf"{table}\.json is missing"):
        build_nuimages_index(root, "v1.0-mini", tmp_path / "index.arrow")


def test_tables_that_contradict_themselves(tables, tmp_path):
    def build(number):
        root = write_data(tmp_path / str(number), tables)
        build_nuimages_index(root, "v1.0-mini", tmp_path / "index.arrow")

    tables["object_ann"][0]["sample_data_token"] = "depot-0"
    with pytest.raises(ValueError, match="'depot-box-0' is a box in 'depot-0', which is no key"):
        build(0)
    tables["sample"][0]["key_camera_token"] = "depot-2"
    with pytest.raises(ValueError, match="key_camera_token of 'crossing' names 'depot-2'"):
        build(1)
    tables["sample"][0]["key_camera_token"] = "crossing-6"
    tables["object_ann"][0]["sample_data_token"] = "depot-2"
    for row in tables["sample_data"]:
        if row["token"] == "crossing-0":
            row["calibrated_sensor_token"] = "depot-mount"
    with pytest.raises(ValueError, match="'crossing' has images of CAM_BACK and CAM_FRONT"):
        build(2)


def test_a_distorting_lens_is_named_with_the_pixels_it_moves(tables, tmp_path, caplog):
    root = write_data(tmp_path / "data", tables)
    build_nuimages_index(root, "v1.0-mini", tmp_path / "index.arrow")
    # k1 = 0.1: the corner of the camera of 40 pixels is at (0.8, 0.6), its radius squared is 1, so
    # it moves by 0.1 of (32, 24); the other cameras have longer focal lengths.
    assert "camera_distortion moves pixels of CAM_FRONT by up to 4.0 at" in caplog.text
    assert len(caplog.records) == 1


def test_columns_that_are_not_nuscenes(tables, tmp_path, caplog):
    for row in tables["calibrated_sensor"]:
        row["camera_distortion"] = []
    for row in tables["sample_data"]:
        row["is_valid"] = row["token"] != "depot-2"
    for number, row in enumerate(tables["object_ann"]):
        row.update(instance_token=f"i-{number}", automatic_annotation=number < 3, truncated=True)
    root = write_data(tmp_path / "data", tables)
    index = FrameIndex.open(build_nuimages_index(root, "v1.0-mini", tmp_path / "index.arrow"))
    # The annotated image of the depot is gone, and its one box with it.
    assert (len(index.frames), len(index.boxes)) == (22, 6)
    lines = sorted(record.getMessage().partition("v1.0-mini/")[2] for record in caplog.records)
    assert [line[:75] for line in lines] == [
        "object_ann.json has columns that are not read: truncated. If they change wh",
        "object_ann.json: 3 of 7 boxes have automatic_annotation=true: a model drew ",
        "sample_data.json: 1 of 23 rows have is_valid=false and are left out",
    ]


def test_a_box_of_width_and_height_is_refused(tables, tmp_path):
    tables["object_ann"][1]["bbox"] = [10, 20, 20, 12]  # of [10, 20, 30, 32]
    root = write_data(tmp_path / "data", tables)
    with pytest.raises(ValueError, match=r"'crossing-box-0' has a bbox that is not x1, y1, x2, y2"):
        build_nuimages_index(root, "v1.0-mini", tmp_path / "index.arrow")


@pytest.mark.parametrize(("factor", "unit"), [(1e3, "nano"), (1e-3, "milli"), (1e-6, "")])
def test_timestamps_of_another_unit(tables, tmp_path, factor, unit):
    for row in tables["sample_data"]:
        row["timestamp"] = int(row["timestamp"] * factor)
    root = write_data(tmp_path / "data", tables)
    match = rf"sample_data\.json: timestamps of CAM_BACK's frames .* these are {unit}seconds"
    with pytest.raises(ValueError, match=match):
        build_nuimages_index(root, "v1.0-mini", tmp_path / "index.arrow")


def test_two_images_of_a_scene_at_one_time(tables, tmp_path):
    rows = {row["token"]: row for row in tables["sample_data"]}
    rows["crossing-4"]["timestamp"] = rows["crossing-5"]["timestamp"]
    root = write_data(tmp_path / "data", tables)
    with pytest.raises(
        ValueError, match=r"images 'crossing-[45]' and 'crossing-[45]' of one scene"
    ):
        build_nuimages_index(root, "v1.0-mini", tmp_path / "index.arrow")


def test_nuscenes_tables_are_recognised(small_root, tmp_path):
    cure = r"nuScenes' tables .* run drivemim index nuscenes --root"
    with pytest.raises(ValueError, match=cure):
        build_nuimages_index(small_root, "v1.0-mini", tmp_path / "index.arrow")


def test_another_version_is_asked_for(index):
    with pytest.raises(ValueError, match=r"drivemim index nuimages --root .* v1\.0-train"):
        FrameIndex.open(index.path, version="v1.0-train")


def test_the_command(repository, root, tmp_path):
    def run(*arguments):
        command = [sys.executable, "tools/create_index.py", "nuimages", "--root", str(root)]
        command += ["--version", "v1.0-mini", "--out", str(tmp_path / "i.arrow"), *arguments]
        return subprocess.run(command, capture_output=True, text=True, cwd=repository)

    done = run()
    assert done.returncode == 0, done.stderr
    assert "3 scenes, 23 samples, 23 frames of 2 cameras, 7 boxes of 7 objects" in done.stdout
    assert "3 scenes, 3 samples, 3 frames of" in run("--keyframes-only").stdout
