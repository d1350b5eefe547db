"""Lidar points in the cameras' images: by hand, and against the devkit on real frames."""

import json

import numpy as np
import pytest
import torch
from nuscenes import NuScenes
from nuscenes.nuscenes import NuScenesExplorer

from drivemim.data.clips.clip_dataset import ClipDataset
from drivemim.data.clips.lidar import read_scan
from drivemim.data.index.builders.nuscenes import build_nuscenes_index
from drivemim.errors import ConfigError, DataError

# The vehicle drives at 2 m/s from x = 0 and turns; cameras are 10 ms early and 1.5 m ahead.
SCAN = [
    [9.0, -1.0, 0.7],  # ahead, to the right and above the front camera
    [-9.0, 1.0, -0.3],  # behind
    [1.0, 0.0, -0.3],  # half a metre before the front camera
    [9.0, 20.0, 0.0],  # beside the image
]


@pytest.fixture
def with_scan(tables, write):
    """Index of the small data set, the same returns in every scan."""
    root = write(tables)
    points = np.zeros((len(SCAN), 5), "<f4")
    points[:, :3] = SCAN
    for path in root.glob("samples/LIDAR_TOP/*.pcd.bin"):
        path.write_bytes(points.tobytes())
    return build_nuscenes_index(root, "v1.0-mini", root / "index.arrow")


def _clip(path, item=0, **arguments):
    defaults = {"index": path, "image_size": (48, 64), "scenes": ["scene-0061"]}
    return ClipDataset(**{**defaults, "lidar_points": 9, **arguments})[item]


def test_points_by_hand(with_scan):
    points = _clip(with_scan).points_BTNP3[0, 0]
    assert points.shape == (2, 1, 3)
    back, front = points[:, 0].tolist()
    # Lidar at (1, 0, 1.8). The cameras' ego pose at -10 ms is that of the first frame, which is
    # at x = 0 too: point 1 at (10, -1, 2.5) is 8.5 m ahead of the front camera, 1 to the right
    # and 1 above, with focal length 40 and centre (32, 24).
    assert front == pytest.approx([32 + 40 / 8.5, 24 - 40 / 8.5, 8.5], rel=1e-5)
    # Point 2 at (-8, 1, 1.5) is 7.5 m behind the rear camera, 1 m to the right as that looks.
    assert back == pytest.approx([32 + 40 / 7.5, 24, 7.5], rel=1e-5)


@pytest.mark.parametrize("head", [b"# .PCD v0.7 - Point", b"VERSION 0.7\nFIELDS x y"])
def test_a_file_of_the_point_cloud_library_is_refused(tmp_path, head):
    path = tmp_path / "sweep.pcd"
    path.write_bytes(head.ljust(100))  # five returns, if it were nuScenes'
    with pytest.raises(DataError, match=r"sweep\.pcd of sample s is a PCD file"):
        read_scan(path, sample="s")


def test_points_follow_size_and_mirroring(with_scan):
    half = _clip(with_scan, image_size=(24, 32)).points_BTNP3[0, 0, 1, 0].tolist()
    assert half == pytest.approx([16 + 20 / 8.5, 12 - 20 / 8.5, 8.5], rel=1e-5)
    colours = {name: 0.0 for name in ("colour", "blur", "noise")}
    augment = {"flip": 1.0, "crop": (1.0, 1.0), **colours}
    mirrored = _clip(with_scan, augment=augment).points_BTNP3[0, 0, 1, 0].tolist()
    assert mirrored == pytest.approx([32 - 40 / 8.5, 24 - 40 / 8.5, 8.5], rel=1e-5)


def test_points_lift_to_the_same_place_whatever_the_augmentation(with_scan):
    clip = _clip(with_scan, augment={"crop": (0.9, 1.0), "flip": 0.5})
    for camera in range(2):
        x, y, depth = clip.points_BTNP3[0, 0, camera, 0]
        ray = torch.linalg.inv(clip.intrinsics_BTN33[0, 0, camera]) @ torch.tensor([x, y, 1])
        point = clip.camera_to_clip_BTN44[0, 0, camera] @ torch.tensor([*(ray * depth), 1])
        expected = np.add(SCAN[1 - camera], [1, 0, 1.8])
        np.testing.assert_allclose(point[:3], expected, atol=1e-4)


def test_a_sweep_between_keyframes_has_the_points_of_the_sample_nearest_in_time(with_scan):
    # Steps 1 and 2 are a sixth and a third of a second after the keyframe, each 10 ms early.
    clip = _clip(with_scan, num_frames=3, frame_interval=1 / 6, cameras=["CAM_FRONT"])
    assert clip.tokens[0] == tuple((f"scene-0061-CAM_FRONT-{step}",) for step in range(3))
    for step, sample in ((1, 0), (2, 1)):
        x, y, depth = clip.points_BTNP3[0, step, 0, 0]
        ray = torch.linalg.inv(clip.intrinsics_BTN33[0, step, 0]) @ torch.tensor([x, y, 1])
        point = clip.camera_to_clip_BTN44[0, step, 0] @ torch.tensor([*(ray * depth), 1])
        angle, (ahead, left, up) = 0.05 * sample, np.add(SCAN[0], [1, 0, 1.8])
        expected = [
            sample + ahead * np.cos(angle) - left * np.sin(angle),
            ahead * np.sin(angle) + left * np.cos(angle),
            up,
        ]
        np.testing.assert_allclose(point[:3], expected, atol=1e-4)


def test_frames_far_from_any_scan_have_no_points(with_scan, monkeypatch):
    clip = _clip(with_scan, num_frames=3, frame_interval=1 / 6, cameras=["CAM_FRONT"])
    assert torch.isfinite(clip.points_BTNP3[..., 2]).any(dim=-1).all()
    monkeypatch.setattr("drivemim.data.clips.lidar.LONGEST_GAP", 100_000)
    clip = _clip(with_scan, num_frames=3, frame_interval=1 / 6, cameras=["CAM_FRONT"])
    assert torch.isfinite(clip.points_BTNP3[..., 2]).flatten().tolist() == [True, False, False]
    assert clip.points_BTNP3[0, 1, 0].tolist() == [[0, 0, float("inf")]]


def test_a_subset_is_drawn_by_the_clips_seed(tables, write):
    root = write(tables)
    points = np.zeros((500, 5), "<f4")
    points[:, 0], points[:, 1] = 9, np.linspace(-3, 3, 500)
    for path in root.glob("samples/LIDAR_TOP/*.pcd.bin"):
        path.write_bytes(points.tobytes())
    index = build_nuscenes_index(root, "v1.0-mini", root / "index.arrow")
    data = ClipDataset(
        index=index, image_size=(48, 64), scenes=["scene-0061"], cameras=["CAM_FRONT"],
        lidar_points=100,
    )  # fmt: skip
    one, same, other = (data.load(data.rows(0), seed).points_BTNP3 for seed in (1, 1, 2))
    assert one.shape == (1, 1, 1, 100, 3)
    assert torch.equal(one, same)
    assert not torch.equal(one, other)
    assert len(one[..., 0].unique()) == 100
    # Drawn from all of them, not the first hundred.
    assert one[..., 0].max() - one[..., 0].min() > 20


def test_a_scene_without_lidar_has_no_points_and_a_selection_without_is_refused(with_scan):
    root = with_scan.parent
    path = root / "v1.0-mini" / "sample_data.json"
    rows = [row for row in json.loads(path.read_text()) if "0061-LIDAR" not in row["token"]]
    path.write_text(json.dumps(rows))
    index = build_nuscenes_index(root, "v1.0-mini", with_scan)
    # The other scene has points.
    assert _clip(index, 3, scenes=None).points_BTNP3.shape == (1, 1, 2, 0, 3)
    assert _clip(index, 0, scenes=None).points_BTNP3.shape == (1, 1, 2, 1, 3)
    with pytest.raises(ConfigError, match=r"lidar_points=9, but no sample of .* has a LIDAR_TOP"):
        _clip(index)


def test_points_are_only_loaded_on_request(with_scan):
    assert _clip(with_scan, lidar_points=0).points_BTNP3.shape == (1, 1, 2, 0, 3)


def test_missing_frames_have_no_points(with_scan):
    clip = _clip(with_scan, item=2, num_frames=2)
    assert not clip.valid_BTN[0, 1].any()
    assert (clip.points_BTNP3[0, 1, ..., 2] == torch.inf).all()
    data = ClipDataset(index=with_scan, image_size=(48, 64), lidar_points=9)
    nothing = data.load(np.full((2, 2), -1), 0)
    assert nothing.points_BTNP3.shape == (1, 2, 2, 0, 3)


def test_broken_scans_are_named(with_scan):
    path = next(with_scan.parent.glob("samples/LIDAR_TOP/scene-0061-LIDAR_TOP-0*"))
    path.write_bytes(path.read_bytes()[:-3])
    with pytest.raises(DataError, match=r"scene-0061-LIDAR_TOP-0.*sample-0 has 77 bytes"):
        _clip(with_scan)
    path.unlink()
    with pytest.raises(FileNotFoundError, match=r"scene-0061-LIDAR_TOP-0.*sample-0 is missing"):
        _clip(with_scan)
    _clip(with_scan, lidar_points=0)
    with pytest.raises(ConfigError, match=r"lidar_points=-1 must be in \[0, infinity\)"):
        _clip(with_scan, lidar_points=-1)


@pytest.mark.parametrize("name", ["nuscenes-sample", "surround-clips"])
def test_real_points_are_the_devkits(real_data, tmp_path, name):
    index = build_nuscenes_index(real_data / name, "v1.0-mini", tmp_path / "index.arrow")
    nusc = NuScenes("v1.0-mini", str(real_data / name), verbose=False)
    explorer = NuScenesExplorer(nusc)
    size = next(row for row in nusc.sample_data if row["channel"] == "CAM_FRONT")
    image_size = (size["height"], size["width"])
    data = ClipDataset(
        index=index, image_size=image_size, lidar_points=100_000, cameras=["CAM_FRONT"],
        scenes=["scene-0061"],
    )  # fmt: skip
    for item in range(len(data)):
        clip = data[item]
        frame = nusc.get("sample_data", clip.tokens[0][0][0])
        sweep = nusc.get("sample", frame["sample_token"])["data"]["LIDAR_TOP"]
        expected, depth, _ = explorer.map_pointcloud_to_image(sweep, frame["token"])
        points = clip.points_BTNP3[0, 0, 0].numpy()
        # The devkit leaves out the first and last pixels, and computes in float32.
        inner = ((points[:, :2] > 1) & (points[:, :2] < np.flip(image_size) - 1)).all(axis=1)
        assert len(points) - 20 < inner.sum() == len(depth) > 500
        np.testing.assert_allclose(points[inner, :2], expected[:2].T, atol=0.1)
        np.testing.assert_allclose(points[inner, 2], depth, rtol=1e-4)
