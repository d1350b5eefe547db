import numpy as np
from nuscenes.utils.data_classes import Box, LidarPointCloud
from nuscenes.utils.geometry_utils import points_in_box
from pyquaternion import Quaternion

from drivemim.town.ground import draw_ground
from drivemim.town.lidar_scan import cast_lidar, count_points
from drivemim.town.quads import Quads, TextureBank
from drivemim.town.scene import TownScene
from drivemim.town.town_config import DAY, TownConfig


def flat_ground():
    rng = np.random.default_rng(0)
    return draw_ground(np.array([-50.0, -50]), np.array([50.0, 50]), 0.5, DAY, rng)


def cast(walls, bank):
    return cast_lidar(
        Quads.make(walls, instance_id=9), bank, flat_ground(), np.array([0.0, 0, 2.0]), np.eye(3)
    )


def test_empty_world_returns_the_ground_only():
    points, instance_ids = cast([], TextureBank())
    assert points.dtype == np.float32
    np.testing.assert_allclose(points[:, 2], -2.0, atol=1e-5)
    assert (instance_ids == 0).all()
    assert set(points[:, 4]) <= set(range(32))
    assert len(points) > 15_000


def test_a_wall_is_hit_where_it_stands_and_shadows_the_ground():
    bank = TextureBank()
    texture = bank.add_image(np.full((8, 8, 4), 255, np.uint8))
    points, instance_ids = cast([([10.0, 3, 4], [0, -6, 0], [0, 0, -4], texture)], bank)
    hits = points[instance_ids == 9]
    np.testing.assert_allclose(hits[:, 0], 10.0, atol=1e-4)
    assert np.abs(hits[:, 1]).max() <= 3.0
    assert hits[:, 2].min() >= -2.0
    # +-3 m at 10 m is 2 * atan(0.3) = 33.4 degrees, 3 columns a degree; rings between -11.3 and
    # 10.5 degrees reach the wall's middle.
    assert 95 <= len(np.unique(np.arctan2(hits[:, 1], hits[:, 0]).round(5))) <= 105
    behind = (points[:, 0] > 10.01) & (np.abs(points[:, 1]) < 2.9 * points[:, 0] / 10)
    assert not behind.any()


def test_a_wall_behind_the_scanner_crosses_the_seam_of_the_azimuths():
    bank = TextureBank()
    texture = bank.add_image(np.full((8, 8, 4), 255, np.uint8))
    points, instance_ids = cast([([-8.0, -2, 4], [0, 4, 0], [0, 0, -4], texture)], bank)
    hits = points[instance_ids == 9]
    np.testing.assert_allclose(hits[:, 0], -8.0, atol=1e-4)
    assert hits[:, 1].min() < -1.9
    assert hits[:, 1].max() > 1.9


def test_rays_pass_through_transparent_texture():
    bank = TextureBank()
    clear = bank.add_image(np.zeros((8, 8, 4), np.uint8))
    _, instance_ids = cast([([10.0, 3, 4], [0, -6, 0], [0, 0, -4], clear)], bank)
    assert (instance_ids == 0).all()


def test_counts_equal_the_devkits():
    rng = np.random.default_rng(3)
    points = rng.uniform(-10, 10, (4000, 3))
    centres = rng.uniform(-8, 8, (12, 3))
    sizes = rng.uniform(0.5, 6, (12, 3))
    yaws = rng.uniform(-7, 7, 12)
    expected = [
        points_in_box(Box(centre, size, Quaternion(axis=[0, 0, 1], radians=yaw)), points.T).sum()
        for centre, size, yaw in zip(centres, sizes, yaws, strict=True)
    ]
    assert count_points(points, centres, sizes, yaws).tolist() == expected
    assert max(expected) > 20


def test_table_counts_agree_with_the_written_points(devkit, town):
    total = 0
    for sample in devkit.sample:
        name = sample["data"]["LIDAR_TOP"]
        path, boxes, _ = devkit.get_sample_data(name)
        cloud = LidarPointCloud.from_file(path)
        for box in boxes:
            written = devkit.get("sample_annotation", box.token)["num_lidar_pts"]
            counted = int(points_in_box(box, cloud.points[:3]).sum())
            # The devkit rounds differently; sprites of people end on faces of their boxes.
            assert abs(written - counted) <= 0.02 * written + 1
            total += written
    assert total > 5000


def test_every_point_on_a_body_lies_in_its_box():
    """Sides drawn exactly on a box's faces would leave a bus alongside without a point."""
    scene = TownScene(TownConfig(scenes=2, seconds=1.0, image_size=(60, 100)), 0)
    checked = 0
    for time in (0.0, 0.4, 1.0):
        points, instance_ids, origin, rotation = scene.lidar(time)
        boxes = scene.boxes(time)
        world = points[:, :3].astype(np.float64) @ rotation.T + origin
        for number, track in enumerate(scene.traffic.tracks):
            hits = world[instance_ids == number + 1]
            box = boxes.centers_A3[[number]], boxes.sizes_A3[[number]], boxes.yaws_A[[number]]
            if not track.is_pedestrian and track.kind != "cone":
                assert count_points(hits, *box)[0] == len(hits), track.kind
                checked += len(hits)
    assert checked > 2000
