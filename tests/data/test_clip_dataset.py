import pickle
import random
import subprocess
import sys

import cv2
import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader

from drivemim.data.clips.clip_dataset import ClipDataset, collate_clips
from drivemim.data.clips.sampler import ItemRequest
from drivemim.data.index.builders.frames import build_frames_index
from drivemim.data.index.builders.nuscenes import build_nuscenes_index
from drivemim.data.index.frame_index import FrameIndex
from drivemim.errors import ConfigError
from drivemim.geometry.poses import invert_pose, pose_matrix
from drivemim.registry import DATASETS, FUNCTIONS


def _dataset(path, **arguments):
    return ClipDataset(**{"index": path, "image_size": (24, 32), **arguments})


def test_a_clip_by_hand(small_index):
    data = _dataset(small_index, num_frames=2, scenes=["scene-0061"])
    assert len(data) == 3
    clip = data[0]
    assert clip.shape == (1, 2, 2)
    assert clip.images_BTNHWC.shape == (1, 2, 2, 24, 32, 3)
    assert clip.valid_BTN.all()
    assert clip.tokens[0][1] == ("scene-0061-CAM_BACK-3", "scene-0061-CAM_FRONT-3")
    # The images are grey, 10 brighter a frame.
    means = clip.images_BTNHWC.float().mean(dim=(0, 3, 4, 5))
    assert torch.allclose(means, torch.tensor([[20.0, 20], [50, 50]]), atol=1)
    # Half the size, so half the focal length.
    expected = torch.tensor([[20.0, 0, 16], [0, 20, 12], [0, 0, 1]])
    assert torch.equal(clip.intrinsics_BTN33[0, 1, 1], expected)
    # The vehicle was at x = 0 and is at x = 1, turned by 0.05: the front camera is 1.5 m ahead.
    place = clip.camera_to_clip_BTN44[0, 1, 1, :3, 3]
    assert torch.allclose(
        place, torch.tensor([1 + 1.5 * np.cos(0.05), 1.5 * np.sin(0.05), 1.5]).float()
    )
    # It looks along its own z, which is the vehicle's x.
    forward = clip.camera_to_clip_BTN44[0, 0, 1, :3, 2]
    assert torch.allclose(forward, torch.tensor([1.0, 0, 0]), atol=1e-6)
    # The rear camera sees the truck at first, then nothing.
    assert (clip.labels_BTNM[0, :, 0] >= 0).sum(dim=1).tolist() == [1, 0]


def test_boxes_of_a_clip_by_hand(small_index):
    clip = _dataset(small_index, scenes="mini_train", cameras=["CAM_FRONT"])[0]
    # The car's rear face in the full image is (32 - 80 / 8.5, 24) to (32, 24 + 60 / 8.5).
    expected = torch.tensor([16 - 40 / 8.5, 12, 16, 12 + 30 / 8.5])
    assert torch.allclose(clip.boxes_BTNM4[0, 0, 0, 0], expected)
    assert clip.labels_BTNM[0, 0, 0].tolist() == [1]
    assert clip.depths_BTNM[0, 0, 0].tolist() == [10.5]


def test_tracks_are_the_same_in_every_frame(small_index):
    clip = _dataset(small_index, num_frames=3, scenes="mini_train", cameras=["CAM_FRONT"])[0]
    index = FrameIndex.open(small_index)
    names = [
        [index.tracks.token[track] for track in frame if track >= 0]
        for frame in clip.tracks_BTNM[0, :, 0].tolist()
    ]
    car, walker = "scene-0061-car", "scene-0061-walker"
    assert names == [[car], [car, walker], [car, walker]]


def test_missing_frames_are_black_invalid_and_have_no_boxes(small_index):
    data = _dataset(small_index, num_frames=2, scenes="mini_val")
    clip = data[2]
    assert clip.valid_BTN[0].tolist() == [[False, True], [False, False]]
    missing = ~clip.valid_BTN
    assert clip.images_BTNHWC[missing].max() == 0
    assert torch.equal(clip.intrinsics_BTN33[missing], torch.eye(3).expand(3, 3, 3))
    assert torch.equal(clip.camera_to_clip_BTN44[missing], torch.eye(4).expand(3, 4, 4))
    assert (clip.labels_BTNM[missing] == -1).all()
    assert (clip.timestamps_BTN[missing] == 0).all()
    assert clip.tokens[0] == (("", "scene-0103-CAM_FRONT-6"), ("", ""))
    # The clip's frame is the ego pose of the one frame there is.
    place = clip.camera_to_clip_BTN44[0, 0, 1, :3, 3]
    assert torch.allclose(place, torch.tensor([1.5, 0, 1.5]), atol=1e-6)


def test_a_clip_without_any_frame(small_index):
    data = _dataset(small_index)
    clip = data.load(np.full((2, 3), -1), seed=1)
    assert clip.boxes_BTNM4.shape == (1, 2, 3, 0, 4)
    assert not clip.valid_BTN.any()


def test_number_of_clips(small_index):
    assert len(_dataset(small_index)) == 6
    assert len(_dataset(small_index, num_frames=3)) == 6
    assert len(_dataset(small_index, num_frames=3, drop_incomplete=True)) == 2
    assert len(_dataset(small_index, num_frames=2, frame_interval=0.5, drop_incomplete=True)) == 4
    # A camera that a scene does not have makes no clip there.
    assert len(_dataset(small_index, cameras=["CAM_BACK"])) == 3
    assert len(_dataset(small_index, cameras="CAM_BACK")) == 3
    assert len(_dataset(small_index, single_camera=True)) == 9


def test_one_camera_a_clip(small_index):
    data = _dataset(small_index, single_camera=True, scenes="mini_train", num_frames=2)
    assert data[0].shape == (1, 2, 1)
    tokens = [data[item].tokens[0][0][0] for item in range(3)]
    assert tokens == ["scene-0061-CAM_BACK-0", "scene-0061-CAM_FRONT-0", "scene-0061-CAM_BACK-3"]


def test_sweeps_have_their_own_poses(small_index):
    data = _dataset(
        small_index, num_frames=2, frame_interval=1 / 6, cameras=["CAM_FRONT"], scenes="mini_train"
    )
    clip = data[0]
    assert clip.tokens[0][1] == ("scene-0061-CAM_FRONT-1",)
    assert (clip.timestamps_BTN[0, 1] - clip.timestamps_BTN[0, 0]).tolist() == [166_667]
    turn = 0.1 / 6
    place = torch.tensor([2 / 6 + 1.5 * np.cos(turn), 1.5 * np.sin(turn), 1.5]).float()
    assert torch.allclose(clip.camera_to_clip_BTN44[0, 1, 0, :3, 3], place, atol=1e-5)


AUGMENT = {"flip": 0.5, "crop": (0.6, 1.0), "colour": 0.0, "blur": 0.0, "noise": 0.0}


def test_boxes_and_intrinsics_follow_the_augmentation(small_index):
    data = _dataset(
        small_index, scenes="mini_train", cameras=["CAM_FRONT"], augment=AUGMENT, num_frames=2
    )
    rows = data.rows(1)
    index = data.index
    mirrored = 0
    for seed in range(8):
        clip = data.load(rows, seed)
        intrinsics = clip.intrinsics_BTN33[0].double().numpy()
        mirrored += intrinsics[0, 0, 0, 0] < 0
        # One draw for the track: the same camera at both times.
        np.testing.assert_array_equal(intrinsics[0], intrinsics[1])
        for t, token in enumerate(("scene-0061-walker-1", "scene-0061-walker-2")):
            box = list(index.boxes.token).index(token)
            mount = index.frames.camera_to_ego[rows[t, 0]]
            ego = index.frames.ego_to_global[rows[t, 0]]
            to_camera = invert_pose(
                pose_matrix(ego[:3], ego[3:]) @ pose_matrix(mount[:3], mount[3:])
            )
            point = to_camera[:3, :3] @ index.boxes.center[box] + to_camera[:3, 3]
            x, y = (intrinsics[t, 0] @ point)[:2] / point[2]
            tracks = clip.tracks_BTNM[0, t, 0].tolist()
            if index.boxes.track[box] in tracks:
                x1, y1, x2, y2 = clip.boxes_BTNM4[0, t, 0, tracks.index(index.boxes.track[box])]
                assert x1 - 0.5 <= np.clip(x, 0, 32) <= x2 + 0.5
                assert y1 - 0.5 <= np.clip(y, 0, 24) <= y2 + 0.5
            else:
                assert not (0 < x < 32 and 0 < y < 24)
    assert 0 < mirrored < 8


def test_focus_shows_the_annotated_objects_of_the_camera(small_index):
    """A crop of a hundredth of the image rarely has an object by chance; with focus it always has.

    The boxes are the camera's own: with the other camera's, crops would miss the objects.
    """
    augment = {"crop": (0.01, 0.01), "flip": 0.0}
    rows = _dataset(small_index, cameras=["CAM_FRONT"]).rows(1)
    hits = {}
    for focus in (0.0, 1.0):
        data = _dataset(
            small_index, cameras=["CAM_FRONT"], augment={**augment, "focus": focus}, min_box_size=0
        )
        clips = [data.load(rows, seed) for seed in range(30)]
        hits[focus] = np.mean([bool((clip.labels_BTNM >= 0).any()) for clip in clips])
    assert hits[1.0] == 1.0
    assert hits[0.0] < 0.7


@pytest.mark.parametrize("boxes", [None, "MotionBoxes"])
def test_focus_needs_boxes_before_the_images(small_index, boxes):
    with pytest.raises(ConfigError, match=f"focus needs boxes .*, not {boxes}"):
        _dataset(small_index, boxes=boxes, augment={"focus": 0.5})


def test_focus_is_refused_if_no_frame_has_a_box(tmp_path):
    cv2.imwrite(str(tmp_path / "0.png"), np.zeros((24, 32, 3), np.uint8))
    index = build_frames_index([tmp_path], tmp_path / "index.arrow")
    assert not _dataset(index).has_boxes
    assert _dataset(index, boxes="MotionBoxes").has_boxes
    with pytest.raises(ConfigError, match=r"arrow have no annotated boxes; .* leave focus out"):
        _dataset(index, augment={"focus": 0.5})


def test_an_item_depends_only_on_its_request(small_index):
    data = _dataset(small_index, augment={})
    first, second = data[ItemRequest(3, 4)], data[ItemRequest(3, 4)]
    assert torch.equal(first.images_BTNHWC, second.images_BTNHWC)
    # The first number that NumPy draws after np.random.seed(4), as in runs of earlier versions.
    assert first.seeds_B.tolist() == second.seeds_B.tolist() == [2005877882]
    other = data[ItemRequest(3, 5)]
    assert other.seeds_B.tolist() == [953453411]
    assert not torch.equal(other.images_BTNHWC, first.images_BTNHWC)
    assert data[4].seeds_B.tolist() == [2005877882]  # a plain position is its own seed


def test_items_neither_read_nor_set_the_state_of_global_generators(small_index):
    data = _dataset(small_index, augment=AUGMENT, boxes="MotionBoxes", num_frames=2)

    def states():
        name, keys, *rest = np.random.get_state()
        return random.getstate(), (name, keys.tolist(), *rest), torch.get_rng_state().tolist()

    before = states()
    first = data[ItemRequest(3, 4)]
    assert states() == before
    random.seed(99)
    np.random.seed(99)
    torch.manual_seed(99)
    assert torch.equal(data[ItemRequest(3, 4)].images_BTNHWC, first.images_BTNHWC)


def test_small_boxes_are_left_out(small_index):
    # At half size the car is 15 / 8.5 * 2 = 3.53 pixels high.
    arguments = {"scenes": "mini_train", "cameras": ["CAM_FRONT"]}
    assert _dataset(small_index, min_box_size=3.5, **arguments)[0].tracks_BTNM.shape[-1] == 1
    assert _dataset(small_index, min_box_size=3.6, **arguments)[0].tracks_BTNM.shape[-1] == 0


def test_broken_images_are_named_with_their_token(tables, write, tmp_path):
    root = write(tables)
    index = build_nuscenes_index(root, "v1.0-mini", tmp_path / "index.arrow")
    path = root / "samples" / "CAM_FRONT" / "scene-0103-CAM_FRONT-0.jpg"
    path.write_bytes(path.read_bytes()[:-30])
    match = r"samples/CAM_FRONT/scene-0103-CAM_FRONT-0\.jpg of frame scene-0103-CAM_FRONT-0 is"
    with pytest.raises(ValueError, match=f"{match} truncated"):
        _dataset(index)[0]
    path.unlink()
    with pytest.raises(FileNotFoundError, match=f"{match} missing"):
        _dataset(index)[0]


def test_batches_from_worker_processes(small_index):
    data = _dataset(small_index, num_frames=2, scenes="mini_train")
    loader = DataLoader(data, batch_size=3, num_workers=1, collate_fn=collate_clips)
    (batch,) = loader
    assert batch.shape == (3, 2, 2)
    for item in range(3):
        alone = data[item]
        assert torch.equal(batch.images_BTNHWC[item], alone.images_BTNHWC[0])
        assert batch.tokens[item] == alone.tokens[0]
        count = alone.tracks_BTNM.shape[-1]
        assert torch.equal(batch.boxes_BTNM4[item, :, :, :count], alone.boxes_BTNM4[0])


def test_a_pickled_data_set_is_small(small_index):
    data = pickle.loads(pickle.dumps(_dataset(small_index, num_frames=2)))
    assert len(pickle.dumps(data)) < 5000
    assert data[0].tokens == _dataset(small_index, num_frames=2)[0].tokens


def test_the_registry_builds_it(small_index):
    config = dict(type="drivemim.ClipDataset", index=str(small_index), image_size=(24, 32))
    assert DATASETS.build(config).metainfo["classes"] == ("pedestrian", "vehicle")
    assert FUNCTIONS.get("drivemim.collate_clips") is collate_clips


def test_images_of_different_sizes_in_one_folder(tmp_path):
    for number, size in enumerate([(30, 40), (60, 80), (31, 40)]):
        cv2.imwrite(str(tmp_path / f"{number}.jpg"), np.full((*size, 3), 99, np.uint8))
    index = build_frames_index([tmp_path], tmp_path / "index.arrow")
    clip = _dataset(index, num_frames=3, augment={**AUGMENT, "flip": 0.0, "crop": (1.0, 1.0)})[0]
    # Assumed focal lengths are the width, so in the result they are the result's width.
    focal = clip.intrinsics_BTN33[0, :, 0, [0, 1], [0, 1]]
    expected = torch.tensor([[32.0, 40 * 24 / 30], [32, 80 * 24 / 60], [32, 40 * 24 / 31]])
    assert torch.allclose(focal, expected, atol=1e-3)


def test_a_crop_shows_the_pixels_that_the_file_has(tmp_path):
    noise = np.random.default_rng(0).integers(0, 255, (450, 800, 3), np.uint8)
    for step in range(3):
        cv2.imwrite(str(tmp_path / f"{step}.jpg"), noise)
    noise = cv2.imread(str(tmp_path / "0.jpg"))
    index = build_frames_index([tmp_path], tmp_path / "index.arrow")
    # A crop of 16 % of the area, 180 x 320, is as large as the result: nothing is resized.
    augment = {**AUGMENT, "crop": (0.16, 0.16), "stretch": 1.0}
    data = _dataset(index, image_size=(180, 320), num_frames=3, augment=augment)
    corners, mirrored = set(), 0
    for seed in range(8):
        clip = data.load(data.rows(0), seed)
        # The index assumes a focal length of 800, and the centre of the image.
        fx, cx, cy = clip.intrinsics_BTN33[0, 0, 0][[0, 0, 1], [0, 2, 2]].tolist()
        assert abs(fx) == 800
        left, top = int(400 - (cx if fx > 0 else 320 - cx)), int(225 - cy)
        expected = noise[top : top + 180, left : left + 320]
        expected = expected if fx > 0 else expected[:, ::-1]
        for step in range(3):
            np.testing.assert_array_equal(clip.images_BTNHWC[0, step, 0].numpy(), expected)
        corners.add((left, top))
        mirrored += fx < 0
    assert len(corners) == 8
    assert 0 < mirrored < 8


def test_pretraining_data_needs_no_mmdetection():
    code = (
        "import sys, drivemim.data\n"
        "bad = [m for m in ('mmdet', 'mmcv.ops', 'nuscenes', 'matplotlib') if m in sys.modules]\n"
        "sys.exit(f'imported {bad}' if bad else 0)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_real_clips(real_data, tmp_path):
    root = real_data / "surround-clips"
    index = build_nuscenes_index(root, "v1.0-mini", tmp_path / "index.arrow")
    data = _dataset(index, num_frames=3, image_size=(192, 320), augment={})
    clip = data[0]
    assert clip.valid_BTN.all()
    assert clip.images_BTNHWC.float().std() > 20
    # scene-0103 has only its three front cameras.
    assert data[3].valid_BTN.sum().item() == 9
