"""Timestamps of other units and clocks, and moments that coincide."""

import numpy as np
import pytest

from drivemim.data.index.builders.nuscenes import build_nuscenes_index
from drivemim.data.index.frame_index import FrameIndex

FACTORS = {"nanoseconds": 1e3, "milliseconds": 1e-3, "seconds": 1e-6}
FIXES = {"nanoseconds": "divide them by 1,000", "milliseconds": "multiply them by 1,000 ",
         "seconds": "multiply them by 1,000,000"}  # fmt: skip


def _build(write, tables, tmp_path):
    root, out = write(tables), tmp_path / "index.arrow"
    return build_nuscenes_index(root, "v1.0-mini", out, missing_images="ignore")


def _scale(tables, names, factor, start=0, kind=int):
    for name in names:
        for row in tables[name]:
            row["timestamp"] = kind((row["timestamp"] - start) * factor)


@pytest.mark.parametrize("kind", [int, float])
@pytest.mark.parametrize("unit", FACTORS)
@pytest.mark.parametrize("start", [0, 1_600_000_000_000_000], ids=["since 1970", "since the start"])
def test_another_unit_is_named_with_its_factor(tables, write, tmp_path, unit, start, kind):
    # Since the start of the first scene, nothing but the gaps tells the unit.
    _scale(tables, ("sample", "sample_data"), FACTORS[unit], start, kind)
    match = rf"sample\.json: timestamps of samples .* {unit}, not microseconds; {FIXES[unit]}"
    with pytest.raises(ValueError, match=match):
        _build(write, tables, tmp_path)
    assert not list(tmp_path.glob("*.arrow"))


@pytest.mark.parametrize("unit", FACTORS)
def test_another_unit_of_the_images_alone(tables, write, tmp_path, unit):
    _scale(tables, ("sample_data",), FACTORS[unit])
    match = rf"sample_data\.json: timestamps of CAM_BACK's frames are .* {unit}, .*{FIXES[unit]}"
    with pytest.raises(ValueError, match=match):
        _build(write, tables, tmp_path)


def test_another_unit_of_one_camera(tables, write, tmp_path):
    for row in tables["sample_data"]:
        if "CAM_FRONT" in row["token"]:
            row["timestamp"] *= 1000
    # 166,667 us between frames are 1.66667e8 ns.
    match = r"CAM_FRONT's frames are about 16\d{17}, 1\.66667e\+08 apart \(median\): .* nanosec"
    with pytest.raises(ValueError, match=match):
        _build(write, tables, tmp_path)


def test_fractions_of_microseconds_are_rounded(tables, write, tmp_path):
    for row in tables["sample_data"]:
        row["timestamp"] += 0.75
    index = FrameIndex.open(_build(write, tables, tmp_path))
    expected = sorted(r["timestamp"] + 0.25 for r in tables["sample_data"] if "CAM" in r["token"])
    assert sorted(index.frames.timestamp.tolist()) == expected


@pytest.mark.parametrize("gap", [8_000, 33_333, 83_333, 500_000, 1_000_000, 1_600_000, 6_000_000])
def test_real_gaps_are_microseconds(tables, write, tmp_path, gap):
    # 120, 30, 12, 2 and 1 a second, one in 1.6 s; with a date, one in 6 s as well.
    for name in ("sample", "sample_data"):
        for row in tables[name]:
            # The first image is taken before its sample.
            begin = 1_600_000_000_000_000 - 500_001
            seconds = (row["timestamp"] - begin) % 1_000_000_000 / 166_667
            scene = 0 if "0103" in row["token"] else 1_000_000_000_000
            row["timestamp"] = 1_600_000_000_000_000 + scene + round(seconds) * gap
    assert len(FrameIndex.open(_build(write, tables, tmp_path)).frames) == 24


def test_a_single_keyframe_of_nanoseconds_is_known_by_its_year(tables, write, tmp_path):
    first = [r for r in tables["sample"] if r["token"].endswith("sample-0")]
    for row in first:
        row.update(prev="", next="", timestamp=row["timestamp"] * 1000)
    kept = {row["token"] for row in first}
    tables["sample"] = first
    for scene in tables["scene"]:
        scene["last_sample_token"] = scene["first_sample_token"]
    tables["sample_data"] = [
        {**r, "prev": "", "next": "", "timestamp": r["timestamp"] * 1000}
        for r in tables["sample_data"]
        if r["sample_token"] in kept
    ]
    tables["sample_annotation"], tables["instance"] = [], []
    scenes = {row["scene_token"]: row for row in first}
    assert len(scenes) == 2
    with pytest.raises(ValueError, match="about 16.*: these are nanoseconds"):
        _build(write, tables, tmp_path)


def test_two_samples_at_one_time_are_refused(tables, write, tmp_path):
    rows = {row["token"]: row for row in tables["sample"]}
    rows["scene-0061-sample-2"]["timestamp"] = rows["scene-0061-sample-1"]["timestamp"]
    match = r"samples 'scene-0061-sample-[12]' and 'scene-0061-sample-[12]' of one scene are at one"
    with pytest.raises(ValueError, match=match):
        _build(write, tables, tmp_path)


def test_samples_of_two_scenes_may_coincide(tables, write, tmp_path):
    for name in ("sample", "sample_data"):
        for row in tables[name]:
            row["timestamp"] -= 1_000_000_000 if "0061" in row["token"] else 0
    index = FrameIndex.open(_build(write, tables, tmp_path))
    assert index.samples.timestamp[:3].tolist() == index.samples.timestamp[3:].tolist()


def test_a_camera_has_one_keyframe_for_a_sample(tables, write, tmp_path):
    rows = {row["token"]: row for row in tables["sample_data"]}
    rows["scene-0061-CAM_FRONT-2"]["is_key_frame"] = True
    match = r"'scene-0061-CAM_FRONT-2' and 'scene-0061-CAM_FRONT-3' are both keyframes of CAM_FRONT"
    with pytest.raises(ValueError, match=match):
        _build(write, tables, tmp_path)


def test_samples_and_images_of_two_clocks_are_refused(tables, write, tmp_path):
    for row in tables["sample_data"]:
        row["timestamp"] -= 37_000_000  # leap seconds: of TAI, and of UTC
    with pytest.raises(ValueError, match=r"keyframes .* are 37\.0 s \(median\) off those of"):
        _build(write, tables, tmp_path)


@pytest.mark.parametrize("name", ["nuscenes-sample", "surround-clips", "kitti-rig"])
def test_real_timestamps_are_accepted(real_data, tmp_path, name):
    index = FrameIndex.open(
        build_nuscenes_index(real_data / name, "v1.0-mini", tmp_path / "index.arrow")
    )
    assert (np.diff(index.frames.key) > 0).all()


def _pose_of_the_next_frame(tables):
    rows = tables["sample_data"]
    following = {row["token"]: row["next"] for row in rows}
    for row in rows:
        row["ego_pose_token"] = following[row["token"]] or row["token"]


def _one_pose(tables):
    for row in tables["sample_data"]:
        row["ego_pose_token"] = "scene-0061-CAM_FRONT-3"


# 24 images and 6 lidar scans. The last image of each of 3 cameras keeps its pose, and so does
# lidar, which has no next. One pose is near the 2 images and the scan of its sample.
@pytest.mark.parametrize(("change", "count"), [(_pose_of_the_next_frame, 21), (_one_pose, 27)])
def test_poses_of_other_times_are_reported(tables, write, tmp_path, caplog, change, count):
    change(tables)
    _build(write, tables, tmp_path)
    assert f"{count} of 30 images and lidar scans have an ego pose that is more" in caplog.text


def test_poses_without_or_near_their_times_are_not_reported(tables, write, tmp_path, caplog):
    for number, row in enumerate(tables["ego_pose"]):
        if number % 3 == 0:
            del row["timestamp"]
        else:
            row["timestamp"] += 49_999
    # Two of the remaining 20 are far.
    for row in (tables["ego_pose"][1], tables["ego_pose"][2]):
        row["timestamp"] += 10_000_000
    _build(write, tables, tmp_path)
    assert "ego pose" not in caplog.text


@pytest.mark.parametrize("name", ["nuscenes-sample", "surround-clips", "kitti-rig"])
def test_real_poses_are_of_the_time_of_their_images(real_data, tmp_path, caplog, name):
    build_nuscenes_index(real_data / name, "v1.0-mini", tmp_path / "index.arrow")
    assert "ego pose" not in caplog.text
