"""nuImages tables that are broken, incomplete or different from the devkit's."""

import pytest
from nuimages_tables import make_tables, write_data

from drivemim.data.index.builders.nuimages import NUIMAGES_TABLES, build_nuimages_index
from drivemim.data.index.frame_index import FrameIndex


@pytest.fixture
def tables():
    return make_tables()


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
    with pytest.raises(ValueError, match="'depot-box-0' is a box in an image that is not a keyf"):
        build(0)
    tables["sample"][0]["key_camera_token"] = "depot-2"
    with pytest.raises(ValueError, match="'crossing' has a key_camera_token that does not name"):
        build(1)
    tables["sample"][0]["key_camera_token"] = "crossing-6"
    tables["object_ann"][0]["sample_data_token"] = "depot-2"
    for row in tables["sample_data"]:
        if row["token"] == "crossing-0":
            row["calibrated_sensor_token"] = "depot-mount"
    with pytest.raises(ValueError, match="'crossing-1' has a prev of another sensor"):
        build(2)
    for row in tables["sample_data"]:
        row.update(prev="", next="")
    with pytest.raises(ValueError, match="'crossing' has images of CAM_BACK and CAM_FRONT"):
        build(3)


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
    fix = r"nuScenes' tables .* run drivemim index nuscenes --root"
    with pytest.raises(ValueError, match=fix):
        build_nuimages_index(small_root, "v1.0-mini", tmp_path / "index.arrow")
