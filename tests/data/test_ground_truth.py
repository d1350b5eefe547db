import numpy as np
from pyquaternion import Quaternion

from drivemim.data.boxes import ground_truth
from drivemim.data.boxes.ground_truth import frame_boxes, interpolate_boxes
from drivemim.data.index.builders.frames import build_frames_index
from drivemim.data.index.builders.nuscenes import build_nuscenes_index
from drivemim.data.index.frame_index import FrameIndex


def _compare_with_devkit(index, devkit):
    """Number of boxes compared; all frames at once against the devkit's frame by frame."""
    rows = np.arange(len(index.frames))
    found = interpolate_boxes(index, rows)
    compared = 0
    for row in rows:
        mine = np.flatnonzero(found.frame == row)
        boxes = devkit.get_boxes(index.frames.token[row])
        assert [index.boxes.token[box] for box in found.box[mine]] == [b.token for b in boxes]
        for position, box in zip(mine, boxes, strict=True):
            np.testing.assert_allclose(found.center[position], box.center, atol=1e-9)
            turn = Quaternion(found.rotation[position]).inverse * box.orientation
            assert abs(turn.degrees) < 1e-4
            compared += 1
    return compared


def test_sweeps_have_the_devkits_boxes(small_index, small_devkit):
    # Frames belong to samples 0,1,1,1,2,2,2,2 of 3, 2 and 3 boxes: 21 a camera, three cameras.
    assert _compare_with_devkit(FrameIndex.open(small_index), small_devkit) == 63


def test_real_frames_have_the_devkits_boxes(real_data, tmp_path):
    from nuscenes import NuScenes

    root = real_data / "surround-clips"
    index = FrameIndex.open(build_nuscenes_index(root, "v1.0-mini", tmp_path / "index.arrow"))
    assert _compare_with_devkit(index, NuScenes("v1.0-mini", str(root), verbose=False)) > 1000


def test_a_box_between_two_samples_by_hand(small_index):
    index = FrameIndex.open(small_index)
    row = index.frame_rows(["scene-0061-CAM_FRONT-1"])
    found = interpolate_boxes(index, row)
    tokens = [index.boxes.token[box] for box in found.box]
    car = tokens.index("scene-0061-car-1")
    # Frame 1 is at 166,667 us - 10 ms of half a second; the car goes from x = 12 to 13.
    fraction = 0.156667 / 0.5
    np.testing.assert_allclose(found.center[car], [12 + fraction, 1 + 0.5 * fraction, 0.75])
    np.testing.assert_allclose(found.rotation[car][3], np.sin(0.4 * fraction / 2), rtol=1e-4)
    # The walker was not there in the sample before, so it stands where it will be.
    walker = tokens.index("scene-0061-walker-1")
    np.testing.assert_allclose(found.center[walker], [8, -2, 0.9])


def test_a_walker_projected_by_hand(small_index):
    index = FrameIndex.open(small_index)
    row = index.frame_rows(["scene-0061-CAM_FRONT-0"])
    found = frame_boxes(index, row)
    # Of car, truck (behind) and cyclist (no class), the camera shows the car alone: it is at
    # x = 12, the camera at 1.5, so its rear face is 8.5 m ahead, from y = 0 to 2, z = 0 to 1.5.
    assert len(found.box) == 1
    left, bottom = 32 - 40 * 2 / 8.5, 24 + 40 * 1.5 / 8.5
    right, top = 32.0, 24.0
    np.testing.assert_allclose(found.boxes[0], [left, top, right, bottom], atol=1e-9)
    np.testing.assert_allclose(found.depth, [10.5])
    np.testing.assert_allclose(found.distance, [np.hypot(12, 1)])
    assert found.label.tolist() == [1]
    assert found.visibility.tolist() == [1]
    assert found.lidar_points.tolist() == [7]
    assert found.truncation.tolist() == [0]
    assert found.moving.tolist() == [1]


def test_boxes_without_a_class_are_left_out_unless_requested(small_index):
    index = FrameIndex.open(small_index)
    row = index.frame_rows(["scene-0061-CAM_FRONT-0"])
    everything = frame_boxes(index, row, keep_unlabelled=True)
    assert everything.label.tolist() == [1, -1]
    cyclists = {**dict.fromkeys(index.categories), "vehicle.bicycle": "pedestrian"}
    mapped = frame_boxes(index, row, class_map=cyclists)
    assert mapped.label.tolist() == [0]
    assert index.boxes.token[mapped.box[0]] == "scene-0061-cyclist-0"
    # What class_map does not name stays what it is by default.
    both = frame_boxes(index, row, class_map={"vehicle.bicycle": "pedestrian"})
    assert sorted(both.label) == [0, 1]


def test_small_boxes_are_left_out(small_index):
    index = FrameIndex.open(small_index)
    row = index.frame_rows(["scene-0061-CAM_FRONT-0"])
    # The car is 40 * 1.5 / 8.5 = 7.06 pixels high.
    assert len(frame_boxes(index, row, min_size=7.0).box) == 1
    assert len(frame_boxes(index, row, min_size=7.1).box) == 0


def test_offsets_are_per_frame_even_without_boxes(small_index):
    index = FrameIndex.open(small_index)
    rows = index.frame_rows(["scene-0061-CAM_BACK-6", "scene-0061-CAM_BACK-0"])
    found = frame_boxes(index, rows)
    # Behind the vehicle there is only the truck, in the first sample.
    assert found.offsets.tolist() == [0, 0, 1]
    assert found.frame.tolist() == [1]
    nothing = frame_boxes(index, np.zeros(0, np.int64))
    assert (nothing.offsets.tolist(), nothing.boxes.shape) == ([0], (0, 4))


def test_frames_in_chunks_are_the_same(small_index, monkeypatch):
    index = FrameIndex.open(small_index)
    rows = np.arange(len(index.frames))[::-1]
    whole = frame_boxes(index, rows)
    monkeypatch.setattr(ground_truth, "_CHUNK", 5)
    chunks = frame_boxes(index, rows)
    for name, values in vars(whole).items():
        np.testing.assert_array_equal(getattr(chunks, name), values)


def test_boxes_drawn_in_the_image_are_taken_as_they_are(tmp_path):
    import json

    import cv2

    cv2.imwrite(str(tmp_path / "0.jpg"), np.zeros((30, 40, 3), np.uint8))
    boxes = [[30, 20, 20, 5], [-5, -5, 4, 4], [3, 4, 5, 6]]
    document = {
        "images": [{"id": 1, "file_name": "0.jpg", "width": 40, "height": 30}],
        "annotations": [
            {"id": number, "image_id": 1, "category_id": 1, "bbox": box}
            for number, box in enumerate(boxes)
        ],
        "categories": [{"id": 1, "name": "car"}],
    }
    coco = tmp_path / "all.json"
    coco.write_text(json.dumps(document))
    index = FrameIndex.open(build_frames_index([tmp_path], tmp_path / "i.arrow", coco=[coco]))
    found = frame_boxes(index, np.array([0]))
    # The first reaches out of the image, the second is outside.
    assert found.boxes.tolist() == [[30, 20, 40, 25], [3, 4, 8, 10]]
    assert np.isinf(found.depth).all()
    assert np.isnan(found.distance).all()
    assert found.moving.tolist() == [-1, -1]
    assert found.visibility.tolist() == [0, 0]


def test_objects_without_an_attribute_move_by_their_speed(tables, write, tmp_path):
    for row in tables["sample_annotation"]:
        row["attribute_tokens"] = []
    index = FrameIndex.open(
        build_nuscenes_index(write(tables), "v1.0-mini", tmp_path / "index.arrow")
    )
    found = frame_boxes(index, index.frame_rows(["scene-0061-CAM_FRONT-3"]))
    # The car goes 3 m in a second, the walker half a metre in half a second: 1 m/s.
    assert found.moving.tolist() == [1, 1]
    found = frame_boxes(index, index.frame_rows(["scene-0061-CAM_BACK-0"]))
    assert found.moving.tolist() == [-1]  # the truck, seen once
