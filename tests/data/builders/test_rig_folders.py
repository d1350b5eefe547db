"""Rig folders, against the nuScenes index of the same recording and by hand."""

import json
import shlex
from dataclasses import fields

import numpy as np
import pytest
import toy_rigs
from toy_rigs import SPEED, START, STEP, STEPS, box_rows, pose_rows, write_rig, write_rows

import town_to_rig
from drivemim.cli import index as cli
from drivemim.data.boxes.ground_truth import frame_boxes, interpolate_boxes
from drivemim.data.clips.clip_dataset import ClipDataset
from drivemim.data.index.builders.nuscenes import build_nuscenes_index
from drivemim.data.index.builders.rig_folders import build_rig_index, record_rig
from drivemim.data.index.frame_index import FrameIndex
from drivemim.errors import DataError
from drivemim.geometry.poses import quaternion_to_matrix
from drivemim.town import generate_town
from drivemim.training.run import train


@pytest.fixture(scope="module")
def both(tmp_path_factory):
    """The index of a town's tables, and the index of the rig folder with the same content."""
    folder = tmp_path_factory.mktemp("town")
    town = generate_town(
        folder / "town", scenes=2, seconds=1.5, sweep_rate=4.0, image_size=(96, 160), seed=4
    )
    town_to_rig.main(town, folder / "rig")
    tables = build_nuscenes_index(town, "v1.0-mini", folder / "tables.arrow")
    rig = build_rig_index([folder / "rig"], folder / "rig.arrow")
    return FrameIndex.open(tables), FrameIndex.open(rig)


@pytest.fixture
def rig(tmp_path):
    return write_rig(tmp_path / "rig")


def _build(root, **options):
    return FrameIndex.open(build_rig_index([root], root.parent / "rig.arrow", **options))


def _same(one, other, section, left_out=()):
    """Compare all columns of numbers of a section."""
    one, other = getattr(one, section), getattr(other, section)
    compared = []
    for field in fields(one):
        values, others = getattr(one, field.name), getattr(other, field.name)
        if isinstance(values, np.ndarray) and field.name not in left_out:
            np.testing.assert_array_equal(others, values, err_msg=field.name)
            compared.append(field.name)
    return compared


def test_a_towns_rig_is_its_nuscenes_index(both):
    tables, rig = both
    assert len(tables.frames) == 84
    assert len(tables.boxes) > 100
    assert rig.cameras == tables.cameras
    assert _same(tables, rig, "frames")[-4:] == ["previous", "next", "calibrated", "key"]
    _same(tables, rig, "samples")
    _same(tables, rig, "scenes")
    # Numbers of categories, attributes and tracks differ, and the town has no radar.
    numbers = ("category", "attribute", "track")
    _same(tables, rig, "boxes", left_out=(*numbers, "radar_points"))
    for box in range(len(tables.boxes)):
        one, other = ((index, index.boxes) for index in (tables, rig))
        names = [
            (
                index.categories[boxes.category[box]],
                index.attributes[boxes.attribute[box]] if boxes.attribute[box] >= 0 else "",
                index.tracks.token[boxes.track[box]].rpartition("/")[2],
            )
            for index, boxes in (one, other)
        ]
        assert names[0] == names[1]
    assert list(rig.scenes.description) == list(tables.scenes.description)


def test_a_towns_rig_has_its_boxes_in_sweeps(both):
    tables, rig = both
    rows = np.flatnonzero(~tables.frames.keyframe)
    one, other = (frame_boxes(index, rows) for index in (tables, rig))
    assert len(one.boxes) > 100
    for name in ("frame", "box", "boxes", "label", "depth", "visibility", "moving", "truncation"):
        np.testing.assert_array_equal(getattr(other, name), getattr(one, name), err_msg=name)


def test_a_towns_rig_has_its_boxes_in_keyframes_at_their_time(both):
    """The tables have them at the sample's time, like nuScenes: its cameras are up to 50 ms off."""
    tables, rig = both
    rows = np.flatnonzero(tables.frames.keyframe)
    one, other = (interpolate_boxes(index, rows) for index in (tables, rig))
    np.testing.assert_array_equal(other.box, one.box)
    off = (rig.frames.timestamp - rig.samples.timestamp[rig.frames.sample])[rows][one.frame] / 1e6
    assert 0.01 < np.abs(off).max() <= 0.05
    moved = other.center - one.center
    velocity = np.nan_to_num(rig.boxes.velocity[one.box])
    assert np.abs(moved).max() > 0.3
    # The velocity is the mean of half a second before and after: objects turn and brake.
    np.testing.assert_allclose(moved[:, :2], off[:, None] * velocity, atol=0.08)


def test_a_towns_rig_has_its_lidar(both):
    options = {"image_size": (96, 160), "num_frames": 2, "lidar_points": 2000}
    one, other = (ClipDataset(index=each.path, **options)[1] for each in both)
    assert (one.points_BTNP3[..., 2] < np.inf).sum() > 100
    assert one.points_BTNP3.equal(other.points_BTNP3)
    assert one.images_BTNHWC.equal(other.images_BTNHWC)
    assert one.tracks_BTNM.shape == other.tracks_BTNM.shape


@pytest.mark.slow
@pytest.mark.parametrize("mask", ["WorldMask", "ObjectMask"])
def test_a_rig_pretrains_with_masks_of_poses_boxes_and_lidar(both, repository, tmp_path, mask):
    options = {
        "train_dataloader.dataset.index": str(both[1].path),
        "train_dataloader.dataset.scenes": None,
        "train_dataloader.dataset.image_size": (96, 160),
        "train_dataloader.dataset.lidar_points": 300,
        "train_dataloader.batch_size": 1,
        "model.masking.base.type" if mask == "ObjectMask" else "model.masking.spot_size": (
            "WorldMask" if mask == "ObjectMask" else 3.0
        ),
    }
    name = {"WorldMask": "vit_micro_world_town.py", "ObjectMask": "vit_micro_object_town.py"}[mask]
    config = repository / "tools" / "studies" / "configs" / "pretrain" / name
    runner = train(config, work_dir=tmp_path / "run", iterations=2, options=options)
    losses = runner.message_hub.get_scalar("train/loss").data[0]
    assert len(losses) == 2
    assert np.isfinite(losses).all()


@pytest.mark.parametrize("name", ["kitti-rig", "nuscenes-sample"])
def test_a_real_recording_as_a_rig_is_its_nuscenes_index(real_data, tmp_path, name):
    if not (real_data / name).is_dir():
        pytest.skip(f"no real frames at {real_data / name}")
    town_to_rig.main(real_data / name, tmp_path / "rig")
    tables, rig = (
        FrameIndex.open(path)
        for path in (
            build_nuscenes_index(real_data / name, "v1.0-mini", tmp_path / "tables.arrow"),
            build_rig_index([tmp_path / "rig"], tmp_path / "rig.arrow"),
        )
    )
    # Images after the last annotated moment are samples without boxes here.
    _same(tables, rig, "frames", left_out=("sample",))
    numbers = ("category", "attribute", "track", "sample", "previous")
    _same(tables, rig, "boxes", left_out=(*numbers, "radar_points"))
    np.testing.assert_array_equal(
        rig.samples.timestamp[rig.boxes.sample], tables.samples.timestamp[tables.boxes.sample]
    )
    annotated = rig.samples.box_count > 0
    wanted = tables.samples.box_count > 0
    for column in ("timestamp", "lidar_to_ego", "lidar_ego_to_global", "keyframes"):
        one, other = (getattr(index.samples, column) for index in (rig, tables))
        np.testing.assert_array_equal(one[annotated], other[wanted], err_msg=column)


def test_poses_of_images_by_hand(rig):
    """An image every 0.1 s, poses every 0.5 s at 10 m/s: 1 m from image to image."""
    index = _build(rig)
    assert len(index.frames) == 2 * STEPS
    assert index.cameras == ("back", "front")
    for row in range(len(index.frames)):
        step = (int(index.frames.timestamp[row]) - START) // STEP
        pose = index.frames.ego_to_global[row]
        np.testing.assert_allclose(pose, [SPEED * 0.1 * step, 0, 0, 1, 0, 0, 0], atol=1e-12)
    # The front camera 1.5 m ahead of and above the ego, which is 4 m on: a point 8.5 m ahead of
    # it, 1 m to the left and 0.75 m above the ground is 1 m left of and 0.75 m below the middle.
    (row,) = np.flatnonzero(
        (index.frames.camera == 1) & (index.frames.timestamp == START + 4 * STEP)
    )
    to_camera = np.linalg.inv(index.camera_to_global(int(row)))
    point = to_camera @ [4 + 1.5 + 8.5, 1, 0.75, 1]
    np.testing.assert_allclose(point[:3], [-1, 0.75, 8.5], atol=1e-12)
    pixel = index.frames.intrinsics[row] @ point[:3] / point[2]
    np.testing.assert_allclose(pixel[:2], [32 - 40 / 8.5, 24 + 30 / 8.5])


def test_boxes_by_hand(rig):
    index = _build(rig)
    boxes = index.boxes
    assert [index.categories[each] for each in boxes.category] == ["car", "car", "pedestrian"]
    assert boxes.size.tolist() == [[2, 4, 1.5], [2, 4, 1.5], [0.6, 0.6, 1.8]]
    turned = quaternion_to_matrix(boxes.rotation[1])
    assert np.degrees(np.arctan2(turned[1, 0], turned[0, 0])) == pytest.approx(np.degrees(0.2))
    # 4 m in 0.4 s.
    np.testing.assert_allclose(boxes.velocity[:2], [[10, 0]] * 2, rtol=1e-6)
    assert np.isnan(boxes.velocity[2]).all()
    assert boxes.previous.tolist() == [-1, 0, -1]
    assert len(index.tracks) == 2
    assert index.samples.timestamp.tolist() == [START, START + 4 * STEP]
    assert index.frames.keyframe.sum() == 4
    # A sweep at a quarter of the way: 13 m.
    (row,) = np.flatnonzero((index.frames.camera == 1) & (index.frames.timestamp == START + STEP))
    found = frame_boxes(index, np.array([row]))
    assert found.depth[0] == pytest.approx(13 - 1 - 1.5)


def test_quaternions_are_yaws(rig):
    yaw = _build(rig).boxes.rotation
    half = [np.cos(0.1), 0, 0, np.sin(0.1)]
    rows = [[*row[:-1], *(half if row[-1] else [1, 0, 0, 0])] for row in box_rows()]
    header = [*toy_rigs.BOX_COLUMNS[:-1], "qw", "qx", "qy", "qz"]
    write_rows(rig / "monday" / "boxes.csv", [header, *rows])
    np.testing.assert_allclose(_build(rig).boxes.rotation, yaw)


def test_a_row_with_only_a_timestamp_is_a_moment_without_objects(rig):
    empty = [START + 2 * STEP, *[""] * 9]
    write_rows(rig / "monday" / "boxes.csv", [toy_rigs.BOX_COLUMNS, *box_rows(), empty])
    index = _build(rig)
    assert index.samples.box_count.tolist() == [1, 0, 2]
    assert index.frames.keyframe.sum() == 6


def test_a_scene_without_boxes_is_not_annotated(rig):
    (rig / "monday" / "boxes.csv").unlink()
    index = _build(rig)
    assert len(index.boxes) == 0
    assert len(index.samples) == STEPS
    assert (index.samples.keyframes >= 0).all()
    assert not index.frames.keyframe.any()
    clips = ClipDataset(index=index.path, image_size=(48, 64), num_frames=2)
    assert len(clips) == STEPS


def test_scenes_of_several_roots_and_calibrations(tmp_path):
    for name in ("a", "b"):
        write_rig(tmp_path / "data" / name, ("monday", "tuesday"))
    own = toy_rigs.calibration()
    own["cameras"]["front"]["fx"] = 50
    (tmp_path / "data" / "b" / "tuesday" / "calibration.json").write_text(json.dumps(own))
    words = {"split": "val", "description": "rain at night"}
    (tmp_path / "data" / "b" / "monday" / "scene.json").write_text(json.dumps(words))
    roots = [tmp_path / "data" / name for name in ("a", "b")]
    index = FrameIndex.open(build_rig_index(roots, tmp_path / "rig.arrow"))
    assert list(index.scenes.name) == ["a/monday", "a/tuesday", "b/monday", "b/tuesday"]
    assert index.data_root == tmp_path / "data"
    assert index.scene_rows("val").tolist() == [2]
    assert index.scenes.night.tolist() == index.scenes.rain.tolist() == [False, False, True, False]
    front = index.frames.camera == 1
    focal = index.frames.intrinsics[:, 0, 0]
    assert set(focal[front & (index.frames.scene == 3)]) == {50}
    assert set(focal[~front | (index.frames.scene != 3)]) == {40}
    # The two roots have the same pictures.
    assert index.copies[:, 0].tolist() == list(range(40))
    assert index.copies[:, 1].tolist() == 2 * list(range(20))
    with pytest.raises(DataError, match=r"--root .*/a/monday is in --root .*/data/a; give one"):
        record_rig([roots[0], roots[0] / "monday"])


def test_a_single_scene_is_a_root(rig):
    (rig / "calibration.json").rename(rig / "monday" / "calibration.json")
    assert list(_build(rig / "monday").scenes.name) == ["monday"]


def test_timestamps_from_a_file(rig):
    folder = rig / "monday" / "front"
    rows = [["file", "timestamp"]]
    for step, path in enumerate(sorted(folder.iterdir())):
        path.rename(folder / f"frame_{step}.png")
        rows.append([f"frame_{step}.png", START + step * STEP + 7])
    write_rows(folder / "timestamps.csv", rows)
    index = _build(rig)
    assert index.frames.timestamp[index.frames.camera == 1].tolist() == [
        START + step * STEP + 7 for step in range(STEPS)
    ]
    assert "timestamps.csv" in [name.name.rpartition("/")[2] for name in index.info.tables]


@pytest.mark.parametrize("kind", ["npy", "bin"])
def test_lidar_by_hand(rig, kind):
    folder = rig / "monday" / "lidar"
    folder.mkdir()
    calibration = toy_rigs.calibration()
    calibration["lidar"] = {"translation": [1, 0, 2], "rotation": [1, 0, 0, 0], "values": 4}
    (rig / "calibration.json").write_text(json.dumps(calibration))
    points = np.array([[9, -1, 0.5, 0.1], [-9, 1, 0.5, 0.2]], np.float32)
    if kind == "npy":
        np.save(folder / f"{START + 20_000}.npy", points[:, :3].astype(np.float64))
    else:
        points.tofile(folder / f"{START + 20_000}.bin")
    index = _build(rig)
    assert list(index.samples.lidar_path) == [f"monday/lidar/{START + 20_000}.{kind}", ""]
    # The ego is 0.2 m on at that time.
    np.testing.assert_allclose(index.samples.lidar_ego_to_global[0, :3], [0.2, 0, 0])
    clip = ClipDataset(index=index.path, image_size=(48, 64), lidar_points=10)[0]
    front = clip.points_BTNP3[0, 0, 1, 0].tolist()
    # At (10.2, -1, 2.5); the camera is at (1.5, 0, 1.5).
    assert front == pytest.approx([32 + 40 / 8.7, 24 - 40 / 8.7, 8.7], rel=1e-5)


def test_distorted_images_are_refused_unless_they_are_rectified(rig):
    calibration = toy_rigs.calibration()
    calibration["cameras"]["front"]["distortion"] = [-0.3, 0, 0, 0, 0]
    (rig / "calibration.json").write_text(json.dumps(calibration))
    with pytest.raises(
        DataError, match=r"calibration\.json: 'front' has distortion \[-0\.3.*--rec"
    ):
        _build(rig)
    assert "--rectified" in _build(rig, rectified=True).info.command


def test_an_index_of_changed_files_is_refused_and_its_command_builds_it_again(rig, monkeypatch):
    index = _build(rig)
    rows = [*pose_rows(), [START + 1_000_000, 11, 0, 0, 1, 0, 0, 0]]
    write_rows(rig / "monday" / "poses.csv", [toy_rigs.POSE_COLUMNS, *rows])
    with pytest.raises(
        DataError, match=r"poses\.csv changed since it was built; rebuild with driv"
    ):
        FrameIndex.open(index.path)
    command = shlex.split(index.info.command)
    assert command[:3] == ["drivemim", "index", "rig"]
    assert cli.main(command[2:]) == 0
    assert len(FrameIndex.open(index.path).frames) == 2 * STEPS


def test_what_is_no_rig_is_named(tmp_path, rig):
    (tmp_path / "empty").mkdir()
    with pytest.raises(FileNotFoundError, match=r"no folder .*/lost; check --root"):
        record_rig([tmp_path / "lost"])
    with pytest.raises(FileNotFoundError, match="no images"):
        record_rig([tmp_path / "empty"])
    with pytest.raises(DataError, match="an index ends in"):
        build_rig_index([rig], tmp_path / "rig.txt")


def test_unknown_columns_and_categories_are_warned_of(rig, caplog):
    rows = [[*row, 1] for row in box_rows()]
    rows[2][2] = "scooter"
    write_rows(rig / "monday" / "boxes.csv", [[*toy_rigs.BOX_COLUMNS, "score"], *rows])
    _build(rig)
    assert "boxes.csv has columns that are not read: score" in caplog.text
    assert "categories without a class: 'scooter'" in caplog.text
