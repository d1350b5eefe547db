"""Columns of nuScenes' and nuImages' tables: read, without effect, or reported."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from drivemim.data.boxes.ground_truth import frame_boxes
from drivemim.data.detection.detection_dataset import FrameDetection
from drivemim.data.index.builders import nuscenes_schema as schema
from drivemim.data.index.builders.lens_distortion import largest_shift
from drivemim.data.index.builders.nuscenes import build_nuscenes_index
from drivemim.data.index.builders.nuscenes_boxes import visibility_levels
from drivemim.data.index.frame_index import FrameIndex

# The columns that https://www.nuscenes.org/nuscenes and /nuimages list.
NUSCENES = {
    schema.Attribute: "token name description",
    schema.CalibratedSensor: "token sensor_token translation rotation camera_intrinsic",
    schema.Category: "token name description index",
    schema.EgoPose: "token translation rotation timestamp",
    schema.Instance: "token category_token nbr_annotations first_annotation_token "
    "last_annotation_token",
    schema.Log: "token logfile vehicle date_captured location",
    schema.Sample: "token timestamp scene_token next prev",
    schema.SampleAnnotation: "token sample_token instance_token attribute_tokens visibility_token "
    "translation size rotation num_lidar_pts num_radar_pts next prev",
    schema.SampleData: "token sample_token ego_pose_token calibrated_sensor_token filename "
    "fileformat width height timestamp is_key_frame next prev",
    schema.Scene: "token name description log_token nbr_samples first_sample_token "
    "last_sample_token",
    schema.Sensor: "token channel modality",
    schema.Visibility: "token level description",
}
NUIMAGES = {
    schema.Attribute: "token name description",
    schema.CalibratedSensor: "token sensor_token translation rotation camera_intrinsic "
    "camera_distortion",
    schema.Category: "token name description",
    schema.EgoPose: "token translation rotation timestamp rotation_rate acceleration speed",
    schema.ImageLog: "token logfile vehicle date_captured location",
    schema.ImageSample: "token timestamp log_token key_camera_token",
    schema.ObjectAnnotation: "token sample_data_token category_token attribute_tokens bbox mask",
    schema.SampleData: "token sample_token ego_pose_token calibrated_sensor_token filename "
    "fileformat width height timestamp is_key_frame prev next",
    schema.Sensor: "token channel modality",
}


@pytest.mark.parametrize(
    ("row", "columns"), [*NUSCENES.items(), *NUIMAGES.items()], ids=lambda each: str(each)[:40]
)
def test_every_documented_column_has_a_decision(row, columns):
    read = set(row.__struct_fields__)
    assert not read & row.ignored
    assert set(columns.split()) <= read | row.ignored


def _build(write, tables, tmp_path, **options):
    path = build_nuscenes_index(write(tables), "v1.0-mini", tmp_path / "index.arrow", **options)
    return FrameIndex.open(path)


def test_an_unknown_column_is_reported(tables, write, tmp_path, caplog):
    for row in tables["calibrated_sensor"]:
        row["is_fisheye"] = False
    tables["sample_annotation"][3]["do_not_use"] = True
    _build(write, tables, tmp_path)
    lines = [record.getMessage() for record in caplog.records]
    assert len(lines) == 2
    assert "calibrated_sensor.json has columns that are not read: is_fisheye." in lines[0]
    assert "sample_annotation.json has columns that are not read: do_not_use." in lines[1]


def test_columns_of_a_large_table_are_those_of_its_first_row(
    tables, write, tmp_path, caplog, monkeypatch
):
    from drivemim.data.index.builders import nuscenes_tables

    monkeypatch.setattr(nuscenes_tables, "_SMALL_TABLE", 300)  # a row of an annotation is longer
    tables["sample_annotation"][0]["do_not_use"] = True
    tables["sample"][0]["speed"] = 3.0
    _build(write, tables, tmp_path)
    lines = [record.getMessage() for record in caplog.records]
    assert ["do_not_use" in line for line in lines] == [False, True]
    assert "sample.json has columns that are not read: speed." in lines[0]


# -- visibility -----------------------------------------------------------------------------------


def test_visibility_is_the_level_and_not_the_token(tables, write, tmp_path):
    # T4's numbering: 1 is fully visible. The small set's boxes have the token 1 + their sample.
    t4 = ["full", "most", "partial", "none"]
    tables["visibility"] = [
        {"token": str(1 + number), "level": level} for number, level in enumerate(t4)
    ]
    index = _build(write, tables, tmp_path)
    expected = {0: 4, 1: 3, 2: 2}
    sample = index.boxes.sample - np.where(index.boxes.sample > 2, 3, 0)
    assert dict(zip(sample.tolist(), index.boxes.visibility.tolist(), strict=True)) == expected
    assert sorted(sample.tolist()) == [0] * 6 + [1] * 4 + [2] * 6


def test_a_filter_by_visibility_keeps_what_is_fully_visible(tables, write, tmp_path):
    tables["visibility"] = [
        {"token": "1", "level": "full"}, {"token": "2", "level": "most"},
        {"token": "3", "level": "none"}, {"token": "4", "level": "none"},
    ]  # fmt: skip
    index = _build(write, tables, tmp_path)
    data = FrameDetection(index=index.path, filters={"min_visibility": 2}, scenes="mini_train")
    flags = [
        {each["ignore_flag"] for each in data.get_data_info(number)["instances"]}
        for number in range(len(data))
        if data.get_data_info(number)["camera"] == "CAM_FRONT"
    ]
    # Samples 0 and 1 hold what is fully or mostly visible, sample 2 what is not.
    assert flags == [{0}, {0}, {1}]


def test_levels_of_both_formats():
    names = ["v80-100", "v0-40", "v60-80", "v40-60", "full", "most", "partial", "none"]
    assert visibility_levels(names)[0].tolist() == [4, 1, 3, 2, 4, 3, 2, 1]
    assert visibility_levels(["FULL", "unavailable"])[0].tolist() == [4, 0]
    levels, unknown = visibility_levels(["much", "full", "", "much"])
    assert (levels.tolist(), unknown) == ([-2, 4, -1, -2], ["", "much"])
    assert visibility_levels([])[0].tolist() == []


def test_an_unknown_level_is_refused_when_a_filter_asks_for_it(tables, write, tmp_path):
    tables["visibility"][1]["level"] = "v40-59"
    index = _build(write, tables, tmp_path)
    assert index.levels == ("v40-59",)
    # To everything else, it is not known how visible these are.
    found = frame_boxes(index, np.flatnonzero(index.frames.keyframe))
    assert set(found.visibility.tolist()) == {0, 1, 3}
    FrameDetection(index=index.path, filters={"min_height": 2.0})
    # Sample 1 of each of two scenes has a car and a walker.
    with pytest.raises(
        ValueError, match=r"min_visibility=1, but .* none of v0-40, .*'v40-59' \(4 b"
    ):
        FrameDetection(index=index.path, filters={"min_visibility": 1})


def test_levels_without_names_are_refused(tables, write, tmp_path):
    for row in tables["visibility"]:
        del row["level"]
    index = _build(write, tables, tmp_path)
    with pytest.raises(ValueError, match=r"'' \(16 boxes\)"):
        FrameDetection(index=index.path, filters={"min_visibility": 2})


# -- lenses ---------------------------------------------------------------------------------------


def _distort(tables, token, coefficients):
    for row in tables["calibrated_sensor"]:
        row["camera_distortion"] = [0.0] * 5 if row["camera_intrinsic"] else []
        if row["token"] == token:
            row["camera_distortion"] = coefficients


def test_a_lens_that_distorts_nothing_is_an_ideal_camera(tables, write, tmp_path, caplog):
    _distort(tables, "scene-0061-CAM_BACK", [0.0] * 8)
    assert len(_build(write, tables, tmp_path).frames) == 24
    assert caplog.records == []


def test_a_distorted_camera_is_refused_unless_its_images_are_rectified(tables, write, tmp_path):
    _distort(tables, "scene-0061-CAM_BACK", [-0.35, 0.0, 0.0, 0.0, 0.0])
    root, out = write(tables), tmp_path / "index.arrow"
    # A corner is at (32 / 40, 24 / 40), its radius squared is 1: it moves by 0.35 of (32, 24).
    with pytest.raises(
        ValueError,
        match=r"calibrated_sensor\.json: 'scene-0061-CAM_BACK' \(CAM_BACK\) has camera_distortion "
        r"\[-0\.35, .* by up to 14\.0 at the image's border.*--rectified",
    ):
        build_nuscenes_index(root, "v1.0-mini", out)
    assert not out.exists()
    index = FrameIndex.open(build_nuscenes_index(root, "v1.0-mini", out, rectified=True))
    assert len(index.frames) == 24
    assert "--rectified" in index.info.command


@pytest.mark.parametrize("coefficients", [[0.1], [0.1] * 6])
def test_coefficients_of_no_model_are_refused(tables, write, tmp_path, coefficients):
    _distort(tables, "scene-0103-CAM_FRONT", [0.1])
    with pytest.raises(
        ValueError, match=r"CAM_FRONT\) has .*that OpenCV's model of a lens does not"
    ):
        _build(write, tables, tmp_path)


def test_a_distorted_camera_without_images_does_no_harm(tables, write, tmp_path):
    _distort(tables, "scene-0103-CAM_FRONT", [0.2, 0.0, 0.0, 0.0, 0.0])
    root, out = write(tables), tmp_path / "index.arrow"
    for row in tables["sample_data"]:
        if row["calibrated_sensor_token"] == "scene-0103-CAM_FRONT":
            (root / row["filename"]).unlink()
    build_nuscenes_index(root, "v1.0-mini", out, missing_images="drop")
    assert len(FrameIndex.open(out).frames) == 16


@settings(deadline=None, max_examples=30)
@given(
    k1=st.floats(-0.2, 0.2), k2=st.floats(-0.05, 0.05), p1=st.floats(-0.01, 0.01),
    p2=st.floats(-0.01, 0.01),
)  # fmt: skip
def test_the_largest_shift_is_that_of_the_formula(k1, k2, p1, p2):
    matrix = np.array([[500.0, 0, 310], [0, 510, 245], [0, 0, 1]])
    u, v = np.meshgrid(np.linspace(0, 640, 161), np.linspace(0, 480, 121))
    x, y = (u - 310) / 500, (v - 245) / 510
    r = x**2 + y**2
    # https://docs.opencv.org/4.x/d9/d0c/group__calib3d.html, without the terms that are 0
    seen_x = x * (1 + k1 * r + k2 * r**2) + 2 * p1 * x * y + p2 * (r + 2 * x**2)
    seen_y = y * (1 + k1 * r + k2 * r**2) + p1 * (r + 2 * y**2) + 2 * p2 * x * y
    moved = np.hypot(500 * (seen_x - x), 510 * (seen_y - y))
    border = np.concatenate([moved[0], moved[-1], moved[:, 0], moved[:, -1]]).max()
    assert largest_shift(matrix, [k1, k2, p1, p2], (640, 480)) == pytest.approx(border, rel=0.01)


# -- what the source itself calls bad --------------------------------------------------------------


def test_invalid_frames_are_left_out(tables, write, tmp_path, caplog):
    bad = {"scene-0061-CAM_FRONT-2", "scene-0061-CAM_BACK-3", "scene-0061-LIDAR_TOP-3"}
    for row in tables["sample_data"]:
        row["is_valid"] = row["token"] not in bad
    index = _build(write, tables, tmp_path)
    assert len(index.frames) == 22
    assert not bad & set(index.frames.token)
    # Sample 4 has lost its rear keyframe and its lidar scan; frame 1 is followed by frame 3.
    assert index.samples.keyframes[4, 0] == -1
    assert [path == "" for path in index.samples.lidar_path] == [False] * 4 + [True, False]
    (row,) = index.frame_rows(["scene-0061-CAM_FRONT-1"])
    assert index.frames.token[index.frames.next[row]] == "scene-0061-CAM_FRONT-3"
    assert "3 of 36 rows have is_valid=false" in caplog.text


def test_boxes_that_a_model_drew_are_counted(tables, write, tmp_path, caplog):
    for number, row in enumerate(tables["sample_annotation"]):
        row["automatic_annotation"] = number < 5
    _build(write, tables, tmp_path)
    assert "sample_annotation.json: 5 of 16 boxes have automatic_annotation=true" in caplog.text


def test_of_several_attributes_the_one_that_nuscenes_has_is_taken(tables, write, tmp_path):
    tables["attribute"].append({"token": "att-occlusion", "name": "occlusion_state.none"})
    row = next(r for r in tables["sample_annotation"] if r["token"] == "scene-0061-car-1")
    row["attribute_tokens"] = ["att-occlusion", "att-vehicle.moving"]
    root = write(tables)
    index = FrameIndex.open(build_nuscenes_index(root, "v1.0-mini", tmp_path / "index.arrow"))
    names = dict(zip(index.boxes.token, index.boxes.attribute, strict=True))
    assert index.attributes[names["scene-0061-car-1"]] == "vehicle.moving"
    # It counts as moving, whatever its speed.
    (frame,) = index.frame_rows(["scene-0061-CAM_FRONT-3"])
    found = frame_boxes(index, np.array([frame]))
    car = [index.boxes.token[box] for box in found.box].index("scene-0061-car-1")
    assert found.moving[car] == 1
