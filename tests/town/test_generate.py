import hashlib
import json

import cv2
import numpy as np
import pytest
from nuscenes.nuscenes import NuScenes
from nuscenes.utils.splits import create_splits_scenes

from drivemim.town import TownConfig, generate, generate_town
from drivemim.town.table_rows import visibility_token
from drivemim.town.town_config import SCENE_CONDITIONS

CAMERAS = (
    "CAM_FRONT",
    "CAM_FRONT_RIGHT",
    "CAM_BACK_RIGHT",
    "CAM_BACK",
    "CAM_BACK_LEFT",
    "CAM_FRONT_LEFT",
)
SMALLEST = {
    "scenes": 2,
    "seconds": 0.5,
    "image_size": (48, 80),
    "pedestrians": 3,
    "vehicles": 3,
    "depth": True,
    "instances": True,
}


def fingerprints(folder):
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def test_scenes_belong_to_both_mini_splits(devkit):
    names = {scene["name"] for scene in devkit.scene}
    splits = create_splits_scenes()
    assert len(names & set(splits["mini_train"])) == 1
    assert len(names & set(splits["mini_val"])) == 1


def test_ten_scenes_are_the_whole_mini_split():
    splits = create_splits_scenes()
    assert {spec.name for spec in TownConfig().scene_specs} == {
        *splits["mini_train"],
        *splits["mini_val"],
    }


def test_scenes_of_a_small_town_keep_their_numbers_and_seeds():
    # Position in the table of conditions and in alphabetical order: existing towns depend on both.
    specs = {spec.name: (spec.number, spec.seed) for spec in TownConfig().scene_specs}
    assert specs["scene-0061"] == (0, 0)
    assert specs["scene-0103"] == (8, 1)
    assert specs["scene-0916"] == (9, 6)
    # A smaller town has the same scenes, not others of the same name.
    assert {spec.name: (spec.number, spec.seed) for spec in TownConfig(scenes=2).scene_specs} == {
        name: specs[name] for name in ("scene-0061", "scene-0103")
    }


def test_more_than_ten_scenes_are_from_trainval_in_every_condition():
    splits = create_splits_scenes()
    specs = TownConfig(scenes=17).scene_specs
    train = [spec for spec in specs if spec.name in splits["train"]]
    val = [spec for spec in specs if spec.name in splits["val"]]
    # 17 x 150 / 850 are 3.
    assert (len(train), len(val)) == (14, 3)
    assert {spec.condition.name for spec in train} == {
        condition.name for condition in SCENE_CONDITIONS.values()
    }
    assert len({spec.name for spec in specs}) == 17
    assert len({spec.number for spec in specs}) == len({spec.seed for spec in specs}) == 17
    assert [spec.name for spec in TownConfig(scenes=850).scene_specs] == splits["train"] + splits[
        "val"
    ]


def test_more_than_ten_scenes_are_version_trainval(tmp_path):
    options = {**SMALLEST, "scenes": 11, "depth": False, "instances": False}
    out = generate_town(tmp_path / "town", workers=1, **options)
    assert not (out / "v1.0-mini").exists()
    found = NuScenes("v1.0-trainval", str(out), verbose=False)
    assert [scene["name"] for scene in found.scene] == [
        spec.name for spec in TownConfig(scenes=11).scene_specs
    ]
    starts = [
        found.get("sample", scene["first_sample_token"])["timestamp"] for scene in found.scene
    ]
    assert starts == sorted(set(starts))


def test_counts_follow_the_options(devkit):
    # 1.5 s at 2 Hz are 4 keyframes; at 4 Hz one sweep between each: 4 + 3 images per camera.
    assert [scene["nbr_samples"] for scene in devkit.scene] == [4, 4]
    cameras = [row for row in devkit.sample_data if row["sensor_modality"] == "camera"]
    assert len(cameras) == 2 * 6 * 7 == 2 * TownConfig(seconds=1.5).images_per_scene
    assert sum(row["is_key_frame"] for row in cameras) == 2 * 6 * 4
    assert {row["channel"] for row in cameras} == set(CAMERAS)
    assert len(devkit.category) == 23
    assert len(devkit.attribute) == 8
    assert len(devkit.visibility) == 4


def test_every_file_is_there_and_has_its_size(devkit, town):
    for row in devkit.sample_data:
        path = town / row["filename"]
        if row["sensor_modality"] == "camera":
            assert cv2.imread(str(path)).shape == (row["height"], row["width"], 3) == (90, 160, 3)
            assert path.parts[-3] == ("samples" if row["is_key_frame"] else "sweeps")
        else:
            assert path.stat().st_size % 20 == 0
    on_disk = sum(1 for folder in ("samples", "sweeps") for _ in (town / folder).glob("*/*"))
    assert on_disk == len(devkit.sample_data)


def test_channels_are_chains_in_time(devkit):
    for scene in devkit.scene:
        first = devkit.get("sample", scene["first_sample_token"])
        for name in first["data"].values():
            row = devkit.get("sample_data", name)
            assert row["prev"] == ""
            times = []
            while True:
                times.append(row["timestamp"])
                if not row["next"]:
                    break
                following = devkit.get("sample_data", row["next"])
                assert following["prev"] == row["token"]
                row = following
            assert times == sorted(set(times))
            assert row["sample_token"] == scene["last_sample_token"]


def test_cameras_have_their_own_times_and_poses(devkit):
    moved = 0
    for sample in devkit.sample:
        rows = [devkit.get("sample_data", sample["data"][camera]) for camera in CAMERAS]
        assert len({row["timestamp"] for row in rows}) == 6
        assert all(-50_000 < row["timestamp"] - sample["timestamp"] < 10_000 for row in rows)
        poses = [devkit.get("ego_pose", row["ego_pose_token"]) for row in rows]
        assert [pose["timestamp"] for pose in poses] == [row["timestamp"] for row in rows]
        moved += len({tuple(pose["translation"]) for pose in poses}) == 6
    assert moved >= 4


def test_sweeps_belong_to_the_following_keyframe(devkit):
    sweeps = [row for row in devkit.sample_data if not row["is_key_frame"]]
    assert sweeps
    for row in sweeps:
        sample = devkit.get("sample", row["sample_token"])
        before = devkit.get("sample", sample["prev"])
        assert before["timestamp"] < row["timestamp"] < sample["timestamp"]
        assert devkit.get_boxes(row["token"])


def test_annotations_are_chains_without_gaps(devkit):
    order = {sample["token"]: k for k, sample in enumerate(devkit.sample)}
    for instance in devkit.instance:
        row = devkit.get("sample_annotation", instance["first_annotation_token"])
        assert row["prev"] == ""
        count = 1
        while row["next"]:
            following = devkit.get("sample_annotation", row["next"])
            assert order[following["sample_token"]] == order[row["sample_token"]] + 1
            assert following["prev"] == row["token"]
            row, count = following, count + 1
        assert row["token"] == instance["last_annotation_token"]
        assert count == instance["nbr_annotations"]


def test_attributes_agree_with_velocities(devkit):
    seen = set()
    for row in devkit.sample_annotation:
        names = [devkit.get("attribute", name)["name"] for name in row["attribute_tokens"]]
        seen.update(names)
        speed = np.linalg.norm(devkit.box_velocity(row["token"])[:2])
        if names and names[0] in ("vehicle.parked", "cycle.without_rider"):
            assert np.isnan(speed) or speed < 1e-6
        if not names:
            assert row["category_name"].startswith("movable_object.")
    assert seen == {
        "vehicle.moving",
        "vehicle.parked",
        "vehicle.stopped",
        "pedestrian.moving",
        "pedestrian.standing",
        "cycle.with_rider",
        "cycle.without_rider",
    }


def test_visibility_is_the_fraction_of_pixels_that_occluders_leave(devkit, town):
    numbers = json.loads((town / "instances.json").read_text())
    levels = {}
    for row in devkit.sample_annotation:
        sample = devkit.get("sample", row["sample_token"])
        scene = devkit.get("scene", sample["scene_token"])["name"]
        pixels = 0
        for camera in CAMERAS:
            name = devkit.get("sample_data", sample["data"][camera])["filename"]
            path = town / name.replace("samples", "instances").replace(".jpg", ".png")
            instance_ids = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
            pixels += int((instance_ids == numbers[scene][row["instance_token"]]).sum())
        levels.setdefault(row["visibility_token"], []).append(pixels)
    assert set(levels) == {"1", "2", "3", "4"}
    assert min(levels["4"]) > 0
    assert min(levels["2"]) > 0
    assert 0 in levels["1"]
    fractions = [0.0, 0.39, 0.4, 0.6, 0.79, 0.8, 1.0]
    assert [visibility_token(fraction) for fraction in fractions] == [
        "1",
        "1",
        "2",
        "3",
        "3",
        "4",
        "4",
    ]


def test_the_same_seed_gives_the_same_bytes_for_any_number_of_workers(tmp_path):
    one = generate_town(tmp_path / "one", workers=1, **SMALLEST)
    two = generate_town(tmp_path / "two", workers=2, **SMALLEST)
    assert fingerprints(one) == fingerprints(two)
    other = generate_town(tmp_path / "three", workers=1, seed=1, **SMALLEST)
    images = [set(fingerprints(town / "samples").values()) for town in (one, other)]
    assert not images[0] & images[1]


def test_an_old_town_is_replaced(tmp_path):
    out = tmp_path / "town"
    out.mkdir()
    (out / generate.MARKER).write_text("{}")
    (out / "old.txt").write_text("old")
    calls = []
    options = {**SMALLEST, "depth": False, "instances": False}
    generate_town(
        out, workers=1, progress=lambda done, total: calls.append((done, total)), **options
    )
    assert sorted(path.name for path in out.iterdir()) == [
        "maps",
        "samples",
        "sweeps",
        "town.json",
        "v1.0-mini",
    ]
    assert [path.name for path in tmp_path.iterdir()] == ["town"]
    assert calls[-1] == (36, 36)  # 2 scenes x 6 cameras x 3 images (half a second at 4 Hz)


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("scenes", 1),
        ("scenes", 851),
        ("seconds", 0.4),
        ("seconds", float("inf")),
        ("seed", -1),
        ("sweep_rate", 5.0),
        ("sweep_rate", 0.0),
        ("image_size", (16, 80)),
        ("pedestrians", -1),
        ("workers", 0),
        ("jpeg_quality", 0),
    ],
)
def test_errors_name_the_invalid_option(tmp_path, option, value):
    with pytest.raises(ValueError, match=rf"{option}=.*take"):
        generate_town(tmp_path / "town", **{option: value})
    assert not list(tmp_path.iterdir())


def test_a_town_without_agents_is_a_valid_data_set(tmp_path):
    empty = {**SMALLEST, "pedestrians": 0, "vehicles": 0}
    out = generate_town(tmp_path / "town", workers=1, **empty)
    rows = json.loads((out / "v1.0-mini" / "sample.json").read_text())
    assert len(rows) == 4
