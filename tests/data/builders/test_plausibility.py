"""Tables whose numbers are in another convention than nuScenes'."""

import copy
import json

import numpy as np
import pytest

from drivemim.data.index.arrow import strings
from drivemim.data.index.builders.nuscenes import build_nuscenes_index
from drivemim.data.index.builders.nuscenes_tables import check_relative
from drivemim.data.index.builders.plausible_camera_rotations import check_camera_rotations
from drivemim.data.index.builders.plausible_poses import ENOUGH_BOXES, check_upright_rotations
from drivemim.data.index.builders.source_rows import SourceRows
from drivemim.data.index.frame_index import FrameIndex


def _rows(folder, table, names):
    return SourceRows.of_table(folder, table, strings([str(name) for name in names]))


def _xyzw(rotation):
    return [*rotation[1:], rotation[0]]


def _each(column, change):
    def apply(rows):
        for row in rows:
            if row[column] != []:
                row[column] = change(row[column])

    return apply


def _swap_size(rows):
    for row in rows:
        row.update(width=row["height"], height=row["width"])


def _normalise(matrix):
    (fx, _, cx), (_, fy, cy), last = matrix
    width, height = 2 * cx, 2 * cy
    return [[fx / width, 0.0, cx / width], [0.0, fy / height, cy / height], last]


def _inverse(rotation):
    w, x, y, z = rotation
    return [w, -x, -y, -z]


# Camera to ego: ahead, to the rear, to the left, to the right, to the road, to the sky.
AHEAD, REAR = [0.5, -0.5, 0.5, -0.5], [0.5, -0.5, -0.5, 0.5]
_HALF = float(np.sqrt(0.5))
LEFT, RIGHT = [_HALF, -_HALF, 0, 0], [0, 0, _HALF, -_HALF]
ROAD, SKY = [0, _HALF, -_HALF, 0], [_HALF, 0, 0, -_HALF]


def _cameras_xyzw(rows):
    """Turn the front camera to the left and the rear one to the right, as x, y, z, w."""
    for row in rows:
        if row["camera_intrinsic"]:
            row["rotation"] = _xyzw(RIGHT if row["token"].endswith("CAM_BACK") else LEFT)


REFUSED = {
    "transposed": ("calibrated_sensor",
                   _each("camera_intrinsic", lambda m: np.transpose(m).tolist()),
                   "camera_intrinsic of .* is transposed: write"),
    "normalised": ("calibrated_sensor", _each("camera_intrinsic", _normalise),
                   "is a fraction of the image's size: multiply"),
    "bottom row": ("calibrated_sensor", _each("camera_intrinsic", lambda m: [*m[:2], [0, 0, 2]]),
                   "a bottom row other than 0, 0, 1"),
    "negative focal length": ("calibrated_sensor", _each(
        "camera_intrinsic", lambda m: [[-m[0][0], 0, m[0][2]], *m[1:]]), "not above 1 pixel"),
    "larger images": ("calibrated_sensor", _each(
        "camera_intrinsic", lambda m: [[2 * number for number in row] for row in m[:2]] + m[2:]),
        r"principal point \[.*\] of its camera_intrinsic lies outside or"),
    "camera xyzw": ("calibrated_sensor", _cameras_xyzw, "y axis .* write w first"),
    "ego to camera": ("calibrated_sensor", _each("rotation", _inverse),
                      "y axis .* as ego to camera .* write the inverse"),
    "box xyzw": ("sample_annotation", _each("rotation", _xyzw),
                 "turns the z axis .* write w first"),
    "ego in a world with y down": ("ego_pose", _each("rotation", lambda r: [1, 1, 0, 0]),
                                   "ego_pose.json: rotation .* a frame with z up"),
    "leading slash": ("sample_data", _each("filename", lambda name: f"/{name}"),
                      "filename '/s.* begins with / .* relative to the data root"),
    "swapped size": ("sample_data", _swap_size, "swap width and height in sample_data.json"),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_another_convention_is_refused_by_name(tables, write, tmp_path, name):
    table, change, message = REFUSED[name]
    change(tables[table])
    with pytest.raises(ValueError, match=message):
        build_nuscenes_index(write(tables), "v1.0-mini", tmp_path / "index.arrow")


@pytest.mark.parametrize("name", [name for name in REFUSED if name != "ego to camera"])
def test_another_convention_of_a_real_rig(real_data, tmp_path, name):
    table, change, message = REFUSED[name]
    if name == "camera xyzw":
        change = _each("rotation", _xyzw)
    source = real_data / "surround-clips"
    (tmp_path / "v1.0-mini").mkdir()
    for path in (source / "v1.0-mini").glob("*.json"):
        rows = json.loads(path.read_text())
        if path.stem == table:
            change(rows)
        (tmp_path / "v1.0-mini" / path.name).write_text(json.dumps(rows))
    (tmp_path / "samples").symlink_to(source / "samples")
    with pytest.raises(ValueError, match=message):
        build_nuscenes_index(tmp_path, "v1.0-mini", tmp_path / "index.arrow")


def test_swapped_width_and_length_are_warned_of(tables, write, tmp_path, caplog):
    original = copy.deepcopy(tables)
    _each("size", lambda size: [size[1], size[0], size[2]])(tables["sample_annotation"])
    root = write(tables)
    build_nuscenes_index(root, "v1.0-mini", tmp_path / "index.arrow")
    # Of each scene: a car of 2 x 4 m three times, a cyclist of 0.6 x 1.8 twice, a truck once.
    assert "the median vehicle is 4.00 m wide and 2.00 m long" in caplog.text
    caplog.clear()
    table = root / "v1.0-mini" / "sample_annotation.json"
    table.write_text(json.dumps(original["sample_annotation"]))
    build_nuscenes_index(root, "v1.0-mini", tmp_path / "index.arrow")
    assert "vehicle" not in caplog.text


def test_a_camera_that_is_mounted_on_its_side_is_a_warning(tables, write, tmp_path, caplog):
    # The front camera rolled a quarter turn: [0.5, -0.5, 0.5, -0.5] times a turn about its z axis.
    rolled = [float(np.sqrt(0.5)), 0.0, float(np.sqrt(0.5)), 0.0]
    for row in tables["calibrated_sensor"]:
        if row["token"] == "scene-0061-CAM_FRONT":
            row["rotation"] = rolled
    build_nuscenes_index(write(tables), "v1.0-mini", tmp_path / "index.arrow")
    assert "'scene-0061-CAM_FRONT' turns the camera's y axis 90 degrees away" in caplog.text


def test_upright_rotations_by_hand(tmp_path):
    def check(rotations):
        rows = _rows(tmp_path, "ego_pose", range(len(rotations)))
        check_upright_rotations(rows, np.array(rotations, float))

    half = np.sqrt(0.5)
    east, north = [half, 0, 0, half], [1, 0, 0, 0]
    check([east, north, [2, 0, 0, 2]])
    check(np.zeros((0, 4)))
    # One of three rolled over: the median is upright.
    check([east, north, [0, 1, 0, 0]])
    # z to the side, by x, y, z, w of a quarter turn.
    with pytest.raises(ValueError, match=r"rotation \[0\.0, .* of '0' .*1 of 2 rows.* w first"):
        check([_xyzw(east), _xyzw(north)])
    # A world with y down: a quarter turn about x.
    with pytest.raises(ValueError, match="a frame with z up"):
        check([[half, half, 0, 0]] * 3)


def _check_cameras(tmp_path, *rotations):
    rows = _rows(tmp_path, "calibrated_sensor", range(len(rotations)))
    check_camera_rotations(rows, np.array(rotations, float))


def test_cameras_that_look_down_or_up_are_not_taken_for_another_convention(tmp_path, caplog):
    _check_cameras(tmp_path, AHEAD, REAR, LEFT, RIGHT)
    assert caplog.text == ""
    for rotations in ([AHEAD, ROAD], [AHEAD, REAR, ROAD], [AHEAD, SKY], [ROAD], [ROAD, ROAD]):
        _check_cameras(tmp_path, *rotations)
        assert "turns the camera's y axis 90 degrees away from down" in caplog.text
        caplog.clear()
    # A traffic-light camera, 30 degrees up: that of ahead turned about its x axis.
    up = [0.5 * (np.cos(np.pi / 12) - np.sin(np.pi / 12) * sign) for sign in (-1, 1, 1, -1)]
    _check_cameras(tmp_path, AHEAD, [up[0], -up[0], up[1], -up[1]])
    assert caplog.text == ""


def test_a_rig_in_another_convention_by_hand(tmp_path, caplog):
    for rotations in ([LEFT, RIGHT], [AHEAD, LEFT, RIGHT], [AHEAD, LEFT, REAR]):
        with pytest.raises(ValueError, match="write w first"):
            _check_cameras(tmp_path, *map(_xyzw, rotations))
    # Ahead and to the left alone is what ahead and to the sky looks like, too.
    _check_cameras(tmp_path, _xyzw(AHEAD), _xyzw(LEFT))
    assert "; read as x, y, z, w every camera is upright, and the same" in caplog.text
    for rotations in ([AHEAD, REAR], [AHEAD, LEFT, RIGHT, REAR]):
        with pytest.raises(ValueError, match="write the inverse rotation"):
            _check_cameras(tmp_path, *map(_inverse, rotations))


def _product(first, second):
    (a, b, c, d), (e, f, g, h) = first, second
    return [a * e - b * f - c * g - d * h, a * f + b * e + c * h - d * g,
            a * g - b * h + c * e + d * f, a * h + b * g - c * f + d * e]  # fmt: skip


def _mounted(yaw, roll):
    """Camera to ego, turned about the ego's z axis and then rolled about its own; degrees."""
    yaw, roll = np.radians(yaw) / 2, np.radians(roll) / 2
    turned = _product([np.cos(yaw), 0, 0, np.sin(yaw)], AHEAD)
    return _product(turned, [np.cos(roll), 0, 0, np.sin(roll)])


@pytest.mark.parametrize("roll", [90, -90, 180])
@pytest.mark.parametrize("yaw", range(0, 360, 45))
def test_one_camera_may_be_mounted_in_any_way(tmp_path, caplog, yaw, roll):
    _check_cameras(tmp_path, _mounted(yaw, roll))
    message = f"turns the camera's y axis {abs(roll)} degrees away from down"
    assert f"{message} in the ego frame (1 such rows)" in caplog.text
    caplog.clear()
    # The same camera in two logs, calibrated anew, and beside cameras that are upright.
    _check_cameras(tmp_path, _mounted(yaw, roll), _mounted(yaw + 2, roll - 3))
    _check_cameras(tmp_path, AHEAD, _mounted(yaw, roll))
    assert caplog.text.count(message) == 2


def test_a_rear_camera_that_is_upside_down_is_a_warning(tables, write, tmp_path, caplog):
    # The rear camera turned by 180 degrees about its axis; ahead reads the same as x, y, z, w.
    assert np.allclose(_mounted(180, 180), _xyzw(REAR))
    for row in tables["calibrated_sensor"]:
        if row["token"].endswith("CAM_BACK"):
            row["rotation"] = _mounted(180, 180)
    build_nuscenes_index(write(tables), "v1.0-mini", tmp_path / "index.arrow")
    assert "CAM_BACK' turns the camera's y axis 180 degrees away from down" in caplog.text
    assert "read as x, y, z, w every camera is upright" in caplog.text


def test_rigs_of_two_and_of_six_cameras_as_xyzw(tmp_path, caplog):
    """Front and rear alone have the numbers of a rear camera upside down; six cannot."""
    upside_down = [AHEAD, _mounted(180, 180)]
    as_xyzw = [_xyzw(AHEAD), _xyzw(REAR)]
    assert np.allclose(np.abs(np.sum(np.multiply(upside_down, as_xyzw), axis=1)), 1)
    _check_cameras(tmp_path, *as_xyzw)
    (message,) = caplog.messages
    assert "of '1' turns the camera's y axis 180 degrees away from down" in message
    assert "read as x, y, z, w every camera is upright, and the same numbers may be" in message
    assert "Look at the camera's images: if they show the road at the bottom, the" in message
    six = [_mounted(yaw, 0) for yaw in (0, 55, 110, 180, -110, -55)]  # as on nuScenes' car
    _check_cameras(tmp_path, *six)
    assert len(caplog.messages) == 1
    with pytest.raises(ValueError, match=r"read as x, y, z, w every .*: write w first"):
        _check_cameras(tmp_path, *map(_xyzw, six))


def test_boxes_on_their_side_are_refused_only_if_there_are_enough(tmp_path, caplog):
    def check(rotations, table="sample_annotation"):
        caplog.clear()
        rows = _rows(tmp_path, table, range(len(rotations)))
        enough = {"sample_annotation": ENOUGH_BOXES, "ego_pose": 1}[table]
        check_upright_rotations(rows, np.array(rotations, float), enough)
        return caplog.text

    upright, lying, east = [1, 0, 0, 0], [_HALF, _HALF, 0, 0], [_HALF, 0, 0, _HALF]
    assert "of '0' turns the z axis" in check([lying])
    assert "(1 of 1 rows). Unless they lie so" in check([lying])
    assert "(9 of 9 rows)" in check([lying] * 9)
    assert "(1 of 1 rows)" in check([_xyzw(east)])
    # 10 rows are enough: 6 that lie are most, 5 are not.
    assert "(4 of 10 rows)" in check([lying] * 4 + [upright] * 6)
    with pytest.raises(ValueError, match=r"\(6 of 10 rows\); write rotations to a frame with z up"):
        check([lying] * 6 + [upright] * 4)
    with pytest.raises(ValueError, match=r"\(10 of 10 rows\); read as x, y, z, w .* w first"):
        check([_xyzw(east)] * 10)
    assert check([upright, east]) == ""
    # An ego does not lie on its side.
    with pytest.raises(ValueError, match=r"ego_pose.json: .*\(1 of 1 rows\)"):
        check([lying], "ego_pose")


def test_a_single_box_that_lies_is_a_warning(tables, write, tmp_path, caplog):
    tables["sample_annotation"][0]["rotation"] = [_HALF, _HALF, 0, 0]
    count = len(tables["sample_annotation"])
    build_nuscenes_index(write(tables), "v1.0-mini", tmp_path / "index.arrow")
    assert f"sample_annotation.json: rotation [{_HALF}, {_HALF}, 0.0, 0.0] of" in caplog.text
    assert f"more than 45 degrees (1 of {count} rows)" in caplog.text


def test_every_row_that_begins_with_a_slash_is_counted(tmp_path):
    check_relative(tmp_path, strings(["a"]), ["samples/CAM_FRONT/1.jpg"])
    with pytest.raises(ValueError, match=r"'/b.jpg' of 'b' begins with / \(2 such rows\)"):
        check_relative(tmp_path, strings(["a", "b", "c"]), ["a.jpg", "/b.jpg", "/c.jpg"])


@pytest.mark.parametrize("name", ["nuscenes-sample", "surround-clips", "kitti-rig"])
def test_a_real_rig_raises_no_alarm(real_data, tmp_path, name, caplog):
    build_nuscenes_index(real_data / name, "v1.0-mini", tmp_path / "index.arrow")
    for word in ("camera_intrinsic", "y axis", "median vehicle", "principal point", "z axis"):
        assert word not in caplog.text


def test_an_ego_that_drives_uphill_is_upright(tmp_path):
    # Pitched by 20 degrees, and rolled by 15.
    pitched, rolled = np.radians(20) / 2, np.radians(15) / 2
    rotations = [[np.cos(pitched), 0, np.sin(pitched), 0], [np.cos(rolled), np.sin(rolled), 0, 0]]
    check_upright_rotations(_rows(tmp_path, "ego_pose", "ab"), np.array(rotations))


def test_rear_cameras_upside_down_are_not_taken_for_xyzw(tmp_path, caplog):
    """Two rear cameras at a = 180 +- d, rolled by 180 degrees, beside an upright front camera.

    As x, y, z, w they would be upright and look straight back, d up or down, which is less level.
    """
    for apart in (10, 25, 40):
        rig = [AHEAD, _mounted(180 - apart, 180), _mounted(180 + apart, 180)]
        as_xyzw = [[rotation[3], *rotation[:3]] for rotation in rig]
        looks = [2 * (y * y + x * x) - 1 for _, x, y, _ in as_xyzw[1:]]  # minus the view's height
        assert np.allclose(np.abs(looks), np.sin(np.radians(apart)))
        _check_cameras(tmp_path, *rig)
        assert "of '1' turns the camera's y axis 180 degrees" in caplog.messages[-1]
        assert "read as x, y, z, w every camera is upright, and the" in caplog.messages[-1]
    # Upright ones at these angles as x, y, z, w are still refused.
    with pytest.raises(ValueError, match="write w first"):
        _check_cameras(tmp_path, *map(_xyzw, [AHEAD, _mounted(140, 0), _mounted(220, 0)]))


def test_camera_rotations_are_taken_as_written_if_the_user_says_so(tables, write, tmp_path, caplog):
    _cameras_xyzw(tables["calibrated_sensor"])
    root, out = write(tables), tmp_path / "index.arrow"
    with pytest.raises(ValueError, match="--camera-rotations-as-written to the drivemim index"):
        build_nuscenes_index(root, "v1.0-mini", out)
    build_nuscenes_index(root, "v1.0-mini", out, camera_rotations_as_written=True)
    assert "read as x, y, z, w every camera is upright" in caplog.text
    assert "--camera-rotations-as-written" in FrameIndex.open(out).info.command


def test_front_cameras_that_look_up_and_down_instead_of_to_the_sides_are_warned_of(
    tmp_path, caplog
):
    left, right = _mounted(30, 0), _mounted(-30, 0)
    _check_cameras(tmp_path, AHEAD, left, right)
    assert caplog.text == ""
    _check_cameras(tmp_path, *map(_xyzw, [AHEAD, left, right]))
    assert "'1' looks 30 degrees up and '2' looks 30 degrees down; read as x, y, z" in caplog.text
    assert len(caplog.messages) == 1
