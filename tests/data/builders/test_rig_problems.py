"""Problems of rig folders: each is listed with its file and row."""

import json
import re

import cv2
import numpy as np
import pytest
import toy_rigs
from toy_rigs import START, STEP, STEPS, box_rows, pose_rows, write_rig, write_rows

from drivemim.cli import index as cli
from drivemim.data.index.builders.rig_folders import build_rig_index, record_rig
from drivemim.errors import DataError


@pytest.fixture
def rig(tmp_path):
    return write_rig(tmp_path / "rig")


def _edit(name, change):
    def apply(rig):
        path = rig / name
        path.write_text(change(path.read_text()))

    return apply


def _calibrate(**changes):
    def apply(rig):
        document = toy_rigs.calibration()
        for key, value in changes.items():
            document["cameras"]["front"][key] = value
            if value is None:
                del document["cameras"]["front"][key]
        (rig / "calibration.json").write_text(json.dumps(document))

    return apply


def _rows(name, header, rows):
    return lambda rig: write_rows(rig / "monday" / name, [header, *rows])


def _picture(size, name=f"front/{START}.png"):
    def apply(rig):
        cv2.imwrite(str(rig / "monday" / name), np.zeros((size[1], size[0], 3), np.uint8))

    return apply


def _lidar(content, name=f"{START}.bin", calibrated=True, **values):
    def apply(rig):
        document = toy_rigs.calibration()
        if calibrated:
            document["lidar"] = {"translation": [0, 0, 2], "rotation": [1, 0, 0, 0], **values}
        (rig / "calibration.json").write_text(json.dumps(document))
        (rig / "monday" / "lidar").mkdir()
        (rig / "monday" / "lidar" / name).write_bytes(content)

    return apply


POSES, BOXES = toy_rigs.POSE_COLUMNS, toy_rigs.BOX_COLUMNS
LATE = START + (STEPS - 1) * STEP
PROBLEMS = {
    "no poses": (lambda rig: (rig / "monday" / "poses.csv").unlink(), [
        r"monday/poses\.csv is missing: .* timestamp,x,y,z,qw,qx,qy,qz"]),
    "no calibration": (lambda rig: (rig / "calibration.json").unlink(), [
        r"monday has no calibration\.json, and neither has .*/rig"]),
    "a camera that is not calibrated": (lambda rig: (rig / "monday" / "front").rename(
        rig / "monday" / "fron"), [
        r"monday/fron: .*calibration\.json has no camera 'fron', only front, back; did you mean"]),
    "an unknown field": (_calibrate(focal=3), [
        r"calibration\.json: camera 'front': Object contains unknown field `focal`"]),
    "a missing field": (_calibrate(width=None), [
        r"camera 'front': Object missing required field `width`"]),
    "half of the intrinsics": (_calibrate(fx=None), [r"'front' needs either intrinsics.* or fx,"]),
    "another rotation": (_calibrate(rotation=[1, 2]), [r"camera 'front' has the rotation \[1, 2"]),
    "a mirror": (_calibrate(rotation=[[0, 0, 1], [1, 0, 0], [0, -1, 0]]), [
        r"calibration\.json: 'front' has a rotation matrix that mirrors"]),
    "no rotation": (_calibrate(rotation=[[0, 0, 2], [-1, 0, 0], [0, -1, 0]]), [
        r"'front' has a rotation matrix whose rows are not orthogonal"]),
    "a long quaternion": (_calibrate(rotation=[1, -1, 1, -1]), [
        r"calibration\.json: 'front' has the quaternion \[1\.0, -1\.0, 1\.0, -1\.0\] of length 2"]),
    "millimetres": (_calibrate(translation=[1500, 0, 1500]), [
        r"'front' is 2,121 m from the ego's origin; write its translation in metres"]),
    "fractions": (_calibrate(fx=0.6, fy=0.6, cx=0.5, cy=0.5), [
        r"intrinsics of 'front' .* is a fraction of the image's size"]),
    "a larger image": (_calibrate(cx=400, cy=300), [
        r"'front' is 64 pixels wide and 48 high, and the principal point \[400\.0, 300\.0\]"]),
    "a picture of another size": (_picture((80, 48)), [
        rf"front/{START}\.png is 80x48 pixels, but .*calibration\.json says that front has 64x48"]),
    "a turned picture": (_picture((48, 64)), [r"64x48 \(width and height are swapped\)"]),
    "not JSON": (lambda rig: (rig / "calibration.json").write_text("{"), [
        r"calibration\.json: it ends too early"]),
    "an empty picture": (lambda rig: (rig / f"monday/front/{START}.png").write_bytes(b""), [
        rf"front/{START}\.png is empty"]),
    "a name without a time": (_picture((64, 48), "front/first.png"), [
        r"front/first\.png: the name is no timestamp \(1 of 6 files\)"]),
    "a video": (lambda rig: (rig / "monday" / "front" / "a.mp4").write_bytes(b"1"), [
        r"front/a\.mp4: videos are not read here"]),
    "pictures in the root": (_picture((64, 48), f"../{START}.png"), [
        r"rig has images itself; a rig's images are in folders SCENE/CAMERA"]),
    "a scene without pictures": (lambda rig: (
        (rig / "tuesday").mkdir(), write_rows(rig / "tuesday" / "poses.csv", [POSES])), [
        r"tuesday/poses\.csv: there are no folders of images beside it"]),
    "words": (_rows("poses.csv", POSES, [
        pose_rows()[0], [LATE + STEP, "east", 0, 0, 1, 0, 0, "up"]]), [
        r"poses\.csv: line 3 has the x 'east', not a number",
        r"poses\.csv: line 3 has the qz 'up', not a number"]),
    "names": (_rows("poses.csv", POSES, [
        pose_rows()[0], ["2011_09_26", "1_0", *pose_rows()[1][2:]]]), [
        r"poses\.csv: line 3 has the timestamp '2011_09_26', not a whole number",
        r"poses\.csv: line 3 has the x '1_0', not a number"]),
    "a missing value": (_rows("poses.csv", POSES, [pose_rows()[0], pose_rows()[1][:-1]]), [
        r"poses\.csv: line 3 has 7 values, the header has 8 columns"]),
    "no header": (_rows("poses.csv", pose_rows()[0], pose_rows()[1:]), [
        r"the first line of .*poses\.csv must name the columns timestamp,x,y,z,"]),
    "semicolons": (_edit("monday/poses.csv", lambda text: text.replace(",", ";")), [
        r"poses\.csv must name .*; they are separated by ';': use commas"]),
    "seconds": (_rows("poses.csv", POSES, [[time / 1e6, *rest] for time, *rest in pose_rows()]), [
        r"line 2 has the timestamp '1600000000\.0', not a whole number; write whole microseconds"]),
    "rounded times": (_rows("poses.csv", POSES, [["1.6e15", *pose_rows()[0][1:]]]), [
        r"line 2 has the timestamp '1\.6e15', not a whole number"]),
    "nanoseconds": (_rows("poses.csv", POSES, [
        [time * 1000, *rest] for time, *rest in pose_rows()]), [
        rf"{START}\.png at {START} is .* before the poses of .*another unit \(a factor of 1,000"]),
    "poses in another order": (_rows("poses.csv", POSES, pose_rows()[::-1]), [
        r"poses\.csv: line 3 is not later than the pose before it"]),
    "a zero quaternion": (_rows("poses.csv", POSES, [
        [*row[:4], 0, 0, 0, 0] for row in pose_rows()]), [
        r"poses\.csv: line 2 has the quaternion .* of length 0",
        r"poses\.csv: line 3 has the quaternion .* of length 0"]),
    "an empty number": (_rows("poses.csv", POSES, [
        [*row[:3], "nan", *row[4:]] for row in pose_rows()]), [
        r"poses\.csv: line 2 has the position \[0\.0, 0\.0, nan\]", "line 3"]),
    "millimetres per second": (_rows("poses.csv", POSES, [
        [row[0], 1000 * row[1], *row[2:]] for row in pose_rows()]), [
        r"poses\.csv: the ego moves 1e\+04 m/s \(median\)"]),
    "x, y, z, w": (_rows("poses.csv", POSES, [[*row[:4], 0, 0, 0, 1] for row in pose_rows()]), [
        r"poses\.csv: the ego drives backwards in the whole recording; .* write w first"]),
    "x, y, z, w of a curve": (_rows("poses.csv", POSES, [
        [*row[:4], 0, 0, np.sin(half), np.cos(half)]
        for row, half in zip(pose_rows(), (0.1, 0.2), strict=True)]), [
        r"poses\.csv: rotation .* of line 3 turns the z axis .* by 17 degrees .* write w first"]),
    "a world with y down": (_rows("poses.csv", POSES, [
        [*row[:4], np.sqrt(0.5), np.sqrt(0.5), 0, 0] for row in pose_rows()]), [
        r"poses\.csv: rotation .* of line 2 turns the z axis .* a frame with z up"]),
    "pictures after the poses": (_rows("poses.csv", POSES, [
        [LATE - 50_001, *pose_rows()[0][1:]]]), [
        rf"front/{LATE}\.png at {LATE} is 0\.050 s after the poses of .*poses\.csv"]),
    "a gap": (_rows("poses.csv", POSES, [
        [START, *pose_rows()[0][1:]], [START + 1_500_001, *pose_rows()[1][1:]]]), [
        r"is in a gap of 1\.500 s between line 2 and line 3 of .*poses\.csv"]),
    "no box": (_rows("boxes.csv", BOXES, [[*box_rows()[0][:6], 2, 0, 1.5, 0]]), [
        r"boxes\.csv: line 2 has the size \[2\.0, 0\.0, 1\.5\]; write width, length, height"]),
    "degrees": (_rows("boxes.csv", BOXES, [
        box_rows()[0], [*box_rows()[1][:-1], -90], [*box_rows()[2][:-1], 6.2832]]), [
        r"boxes\.csv: line 3 has the yaw -90; write radians from -2 pi to 2 pi, not degrees"]),
    "two rotations": (_rows("boxes.csv", [*BOXES, "qw", "qx", "qy", "qz"], []), [
        r"boxes\.csv has both yaw and qw,qx,qy,qz"]),
    "no rotation of boxes": (_rows("boxes.csv", BOXES[:-1], []), [
        r"boxes\.csv has neither yaw nor qw,qx,qy,qz"]),
    "other columns": (_rows("boxes.csv", [*BOXES[:1], "id", *BOXES[2:]], []), [
        r"it has no track \(it is 'timestamp,id,category"]),
    "an object twice": (_rows("boxes.csv", BOXES, [*box_rows(), box_rows()[0], box_rows()[1]]), [
        rf"boxes\.csv: line 5 annotates the track 'car-1' a second time at {START}",
        r"boxes\.csv: line 6 annotates the track 'car-1' a second time"]),
    "two categories": (_rows("boxes.csv", BOXES, [
        box_rows()[0], [*box_rows()[1][:2], "truck", *box_rows()[1][3:]]]), [
        r"line 3 has the category 'truck', but the track 'car-1' is 'car' before"]),
    "no track and no category": (_rows("boxes.csv", BOXES, [
        [START, "", *box_rows()[0][2:]], [*box_rows()[2][:2], "", *box_rows()[2][3:]]]), [
        r"line 2 has no track", r"line 3 has no category"]),
    "another visibility": (_rows("boxes.csv", [*BOXES, "visibility"], [
        [*box_rows()[0], 5], [*box_rows()[2], "most"]]), [
        r"line 3 has the visibility 'most', not a whole number"]),
    "visibility 5": (_rows("boxes.csv", [*BOXES, "visibility"], [[*box_rows()[0], 5]]), [
        r"line 2 has visibility 5; use 1 to 4"]),
    "boxes of another time": (_rows("boxes.csv", BOXES, [
        [START - 1_000_001, *box_rows()[0][1:]]]), [
        rf"boxes\.csv: line 2 is at {START - 1_000_001}, more than 1 s from every image of scene"]),
    "an empty moment of another time": (_rows("boxes.csv", BOXES, [
        *box_rows(), [LATE + 1_000_001, *[""] * 9], [LATE + 2_000_000, *[""] * 9]]), [
        rf"boxes\.csv: line 5 is at {LATE + 1_000_001}, more than 1 s from every .*\(2 such mom"]),
    "only an empty moment of another time": (_rows("boxes.csv", BOXES, [[0, *[""] * 9]]), [
        r"boxes\.csv: line 2 is at 0, more than 1 s from every image of scene"]),
    "an empty moment twice": (_rows("boxes.csv", BOXES, [[START, *[""] * 9]] * 2), [
        rf"boxes\.csv: line 3 has nothing at {START}, but line 2 has nothing at that time; give"]),
    "an empty moment with a box": (_rows("boxes.csv", BOXES, [
        *box_rows(), [START, *[""] * 9]]), [
        rf"boxes\.csv: line 2 has a box at {START}, but line 5 has nothing at that time"]),
    "an empty moment without a number": (_rows("boxes.csv", BOXES, [["1.5", *[""] * 9]]), [
        r"boxes\.csv: line 2 has the timestamp '1\.5', not a whole number"]),
    "an unlisted file": (lambda rig: write_rows(rig / "monday" / "front" / "timestamps.csv", [
        ["file", "timestamp"], ["a.png", START], *([f"{START + k * STEP}.png", START + k * STEP]
        for k in range(4))]), [
        r"timestamps\.csv: line 2 names .*front/a\.png, which does not exist",
        rf"timestamps\.csv lacks {LATE}\.png \(1 of 5 files\)"]),
    "lidar without a pose": (_lidar(bytes(16), calibrated=False), [
        r"lidar: .*calibration\.json has no lidar"]),
    "lidar without a number of values": (_lidar(bytes(16)), [r"lidar has no values, the number"]),
    "lidar of another number of values": (_lidar(bytes(16), values=5), [
        rf"{START}\.bin has 16 bytes, not a multiple of 20: 5 float32"]),
    "two values": (_lidar(bytes(16), values=2), [r"lidar has 2 values per point; x, y and z are"]),
    "an array of one axis": (_lidar(b"no array", f"{START}.npy"), [r"\.npy cannot be read"]),
    "another field of the lidar": (_lidar(bytes(16), value=4), [
        r"lidar: Object contains unknown field `value`; did you mean 'values'\?"]),
    "a split that is no text": (lambda rig: (rig / "monday" / "scene.json").write_text(
        '{"split": 1}'), [r"scene\.json: Expected `str`, got `int` - at `\$\.split`"]),
}  # fmt: skip


@pytest.mark.parametrize("name", PROBLEMS)
def test_every_problem_is_listed_with_file_and_row(rig, capsys, name):
    change, messages = PROBLEMS[name]
    change(rig)
    _, problems = record_rig([rig])
    for message in messages:
        assert [each for each in problems if re.search(message, each)], problems
    assert all("\n" not in each for each in problems)
    assert bool(problems) == bool(messages)
    code = cli.main(["rig", "--root", str(rig), "--check"])
    printed = capsys.readouterr().out.splitlines()
    assert printed[:-1] == problems
    assert code == (1 if messages else 0)
    out = rig.parent / "rig.arrow"
    if messages:
        with pytest.raises(DataError) as error:
            build_rig_index([rig], out)
        assert str(error.value).startswith(problems[0])
        assert "\n" not in str(error.value)
        assert ("--check lists them" in str(error.value)) == (len(problems) > 1)
        assert not out.exists()


def test_a_correct_rig_has_no_problem(rig, capsys):
    assert cli.main(["rig", "--root", str(rig), "--check"]) == 0
    assert capsys.readouterr().out == "no problems in 1 scenes with 10 images and 3 boxes\n"


def test_problems_of_several_files_are_listed_together(rig, capsys):
    _rows("poses.csv", POSES, [pose_rows()[0], [LATE, "x", 0, 0, 1, 0, 0, 0]])(rig)
    _rows("boxes.csv", BOXES, [[START, "a", "car", 1, 2, 3, 0, 1, 1, 0]])(rig)
    _calibrate(fx=None)(rig)
    (rig / "monday" / "scene.json").write_text('{"splits": "train"}')
    assert cli.main(["rig", "--root", str(rig), "--check"]) == 1
    lines = capsys.readouterr().out.splitlines()
    assert lines[-1].startswith("4 problems in 1 scenes")
    named = ("calibration.json: camera 'front'", "poses.csv: line 3", "boxes.csv: line 2",
             "unknown field `splits`; did you mean 'split'?")  # fmt: skip
    assert all(any(each in line for line in lines) for each in named)
