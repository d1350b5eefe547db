"""nuImages tables, small enough to check by hand, read by the devkit and by our builder."""

import numpy as np
import pytest
from in_process import run_script
from mmengine.config import Config
from nuimages import NuImages
from nuimages_tables import HEIGHT, WIDTH, make_tables, write_data

from drivemim.data.boxes.ground_truth import frame_boxes
from drivemim.data.clips.clip_coverage import describe_stretch
from drivemim.data.clips.clip_dataset import ClipDataset
from drivemim.data.detection.detection3d_dataset import FrameDetection3D
from drivemim.data.detection.detection_dataset import FrameDetection
from drivemim.data.index.builders.nuimages import build_nuimages_index
from drivemim.data.index.frame_index import FrameIndex
from drivemim.data.index.frame_keys import frames_in_samples
from drivemim.transfer.data_record import describe_data


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


def test_of_several_attributes_the_one_that_nuscenes_has_is_taken(index):
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


def test_values_that_images_do_not_have_are_unknown(index):
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


def test_another_version_is_refused(index):
    with pytest.raises(ValueError, match=r"drivemim index nuimages --root .* v1\.0-train"):
        FrameIndex.open(index.path, version="v1.0-train")


def test_the_command(root, tmp_path):
    def run(*arguments):
        place = ["--root", root, "--version", "v1.0-mini", "--out", tmp_path / "i.arrow"]
        return run_script("tools/create_index.py", "nuimages", *place, *arguments)

    done = run()
    assert done.returncode == 0, done.stderr
    assert "3 scenes, 23 samples, 23 frames of 2 cameras, 7 boxes of 7 objects" in done.stdout
    assert "3 scenes, 3 samples, 3 frames of" in run("--keyframes-only").stdout


def test_images_without_annotations_are_recorded_as_seen(index):
    """Clips of consecutive samples contain them, so that the record of a run counts them."""
    dataset = {"index": str(index.path), "image_size": (48, 64), "single_camera": True,
               "num_frames": 1, "frame_interval": None, "boxes": None}  # fmt: skip
    clips = ClipDataset(**dataset)
    assert len(clips) == len(index.frames) == 23
    assert int(index.frames.keyframe.sum()) == 3
    assert frames_in_samples(index).all()
    (record,) = describe_data(Config({"train_dataloader": {"dataset": dataset}}))
    assert record["frames"] == 23
    # All 23 are 64 x 48, stretched to 96 x 48.
    assert "stretches 100.0% of the images" in describe_stretch(clips.clips, (48, 96), 16).line
