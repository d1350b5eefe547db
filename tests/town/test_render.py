"""Rendered images compared with geometry worked out by hand and with the tracks' boxes."""

from itertools import pairwise

import numpy as np
import pytest

from drivemim.geometry import box_corners, project_boxes
from drivemim.town import TownConfig, weather
from drivemim.town.ground import draw_ground
from drivemim.town.quads import Quads, TextureBank
from drivemim.town.render import NEAR_PLANE, render
from drivemim.town.rig import Camera, make_rig
from drivemim.town.scene import TownScene
from drivemim.town.town_config import DAY, SCENE_CONDITIONS

# Looking along world x from 2 m above the origin: right is -y, down is -z. The axis passes the
# centre of pixel (80, 45).
CAMERA = Camera(
    "TEST",
    np.array([[100.0, 0, 80.5], [0, 100.0, 45.5], [0, 0, 1]]),
    np.zeros(3),
    np.array([[0.0, 0, 1], [-1, 0, 0], [0, -1, 0]]),
    (91, 161),
    0,
)
POSE = np.array([0.0, 0.0, 2.0]), CAMERA.rotation_33


def plain(bank, level):
    return bank.add_image(np.full((16, 16, 4), (level, level, level, 255), np.uint8))


def wall(texture, distance, half=1.03, height=2.0):
    """Upright square, facing the camera, its middle at the height of the camera."""
    corner = [distance, half, height + half]
    return corner, [0, -2 * half, 0], [0, 0, -2 * half], texture


def test_a_wall_covers_the_pixels_it_should_at_its_depth():
    bank = TextureBank()
    quads = Quads.make([wall(plain(bank, 200), 10.0)], instance_id=7)
    output = render(quads, bank, None, CAMERA, POSE)
    # half a width of 1.03 m at 10 m with a focal length of 100 pixels: 10.3 pixels each way.
    rows, columns = np.nonzero(output.instance_ids_HW == 7)
    assert (columns.min(), columns.max()) == (70, 90)
    assert (rows.min(), rows.max()) == (35, 55)
    np.testing.assert_allclose(output.depth()[rows, columns], 10.0, rtol=1e-6)
    assert (output.colours_HW4[rows, columns, :3] == 200).all()
    assert np.isinf(output.depth()[0, 0])


@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
def test_the_nearer_wall_occludes_in_any_order_and_amodal_areas_ignore_it(order):
    bank = TextureBank()
    walls = [
        Quads.make([wall(plain(bank, 50), 20.0, half=2.06)], instance_id=1),
        Quads.make([wall(plain(bank, 250), 10.0, half=0.515)], instance_id=2),
    ]
    output = render(Quads.cat([walls[k] for k in order]), bank, None, CAMERA, POSE, amodal=True)
    near, far = output.instance_ids_HW == 2, output.instance_ids_HW == 1
    # 21 x 21 pixels for the far wall, of which the near one hides 11 x 11.
    assert output.amodal_areas == {1: 21 * 21, 2: 11 * 11}
    assert near.sum() == 121
    assert far.sum() == 441 - 121
    assert output.depth()[45, 80] == pytest.approx(10.0)


def test_walls_seen_from_behind_are_not_drawn_unless_two_sided():
    bank = TextureBank()
    corner, right, down, texture = wall(plain(bank, 99), 10.0)
    turned = (np.add(corner, right).tolist(), (-np.array(right)).tolist(), down, texture)
    assert not render(Quads.make([turned], 3), bank, None, CAMERA, POSE).instance_ids_HW.any()
    both = Quads.make([turned], 3, two_sided=True)
    assert (render(both, bank, None, CAMERA, POSE).instance_ids_HW == 3).sum() == 21 * 21


def test_transparent_parts_of_a_texture_show_the_background():
    bank = TextureBank()
    image = np.full((64, 64, 4), 255, np.uint8)
    image[:, 32:, 3] = 0
    quads = Quads.make([wall(bank.add_image(image), 10.0)], instance_id=4)
    output = render(quads, bank, None, CAMERA, POSE)
    columns = np.nonzero(output.instance_ids_HW)[1]
    assert columns.min() == 70
    assert columns.max() in (79, 80)


def test_a_wall_alongside_that_passes_the_camera_is_cut_at_the_near_plane():
    bank = TextureBank()
    left = ([-20.0, 1.5, 5.0], [60.0, 0, 0], [0, 0, -5.0], plain(bank, 120))
    output = render(Quads.make([left], 5), bank, None, CAMERA, POSE)
    rows, columns = np.nonzero(output.instance_ids_HW == 5)
    # The plane y = 1.5 is met at depth 100 * 1.5 / (80 - column), up to 40 m.
    expected = 150.0 / (80 - columns)
    np.testing.assert_allclose(output.depth()[rows, columns], expected, rtol=1e-5)
    assert expected.min() > NEAR_PLANE
    assert columns.min() == 0
    assert 74 <= columns.max() <= 77  # 150 / 40 = 3.75 columns left of the middle


def test_ground_depth_is_that_of_the_plane():
    rng = np.random.default_rng(0)
    ground = draw_ground(np.array([-50.0, -50]), np.array([50.0, 50]), 0.2, DAY, rng)
    output = render(Quads.make([]), TextureBank(), ground, CAMERA, POSE)
    for row in (60, 75, 90):
        # 2 m below the camera: depth = 2 * 100 / (row - 45).
        np.testing.assert_allclose(output.depth()[row], 200 / (row - 45), rtol=1e-5)
    assert output.ground_HW[46:].all()
    assert not output.ground_HW[:45].any()


@pytest.fixture(scope="module")
def scene():
    return TownScene(TownConfig(scenes=2, seconds=2.0, image_size=(180, 320)), 0)


def projected(scene, camera, time):
    boxes = scene.boxes(time)
    position, rotation = camera.pose(*scene.ego(time))
    half = boxes.yaws_A / 2
    zero = np.zeros_like(half)
    quaternions = np.stack([np.cos(half), zero, zero, np.sin(half)], -1)
    corners = (box_corners(boxes.centers_A3, boxes.sizes_A3, quaternions) - position) @ rotation
    return corners, project_boxes(corners, camera.intrinsics_33, camera.image_size)


def test_silhouettes_lie_inside_their_projected_boxes_and_touch_most_of_them(scene):
    checked, fits = 0, []
    for time in (0.0, 0.731, 1.9):
        for camera in scene.rig:
            output = scene.render(time, camera)
            corners, boxes = projected(scene, camera, time)
            for instance_id in np.unique(output.instance_ids_HW[output.instance_ids_HW > 0]):
                rows, columns = np.nonzero(output.instance_ids_HW == instance_id)
                left, top, right, bottom = boxes.boxes_M4[instance_id - 1]
                # Centres of covered pixels lie inside, but for how OpenCV rounds positions.
                assert columns.min() + 0.5 >= left - 0.05
                assert columns.max() + 0.5 <= right + 0.05
                assert rows.min() + 0.5 >= top - 0.05
                assert rows.max() + 0.5 <= bottom + 0.05
                depths = output.depth()[rows, columns]
                assert depths.min() >= max(corners[instance_id - 1, :, 2].min(), NEAR_PLANE) - 0.01
                assert depths.max() <= corners[instance_id - 1, :, 2].max() + 0.01
                checked += 1
                if bottom - top > 20:
                    fits.append((np.ptp(rows) + 1) / (bottom - top))
    assert checked > 120
    assert np.median(fits) > 0.85


def test_known_points_agree_with_the_depth_map(scene):
    """Lidar points, put into the camera of the same instant, meet the depths drawn there."""
    time = 1.0
    points, instance_ids, origin, rotation = scene.lidar(time)
    still = instance_ids == 0
    world = points[still, :3] @ rotation.T + origin
    for camera in scene.rig:
        position, turn = camera.pose(*scene.ego(time))
        local = (world - position) @ turn
        ahead = local[:, 2] > 1
        pixels = local[ahead] @ camera.intrinsics_33.T
        positions = np.floor(pixels[:, :2] / pixels[:, 2:]).astype(int)
        height, width = camera.image_size
        inside = ((positions >= 0) & (positions < [width, height])).all(axis=1)
        output = scene.render(time, camera)
        columns, rows = positions[inside].T
        error = output.depth()[rows, columns] / local[ahead][inside, 2] - 1
        # The scanner sits elsewhere than the cameras: objects hide some of its points from them.
        open_view = output.instance_ids_HW[rows, columns] == 0
        assert open_view.sum() > 500
        assert np.median(np.abs(error)) < 0.02
        assert (np.abs(error[open_view]) < 0.1).mean() > 0.9
        assert (error > 0.1).mean() < 0.02  # the depth there is not behind the lidar's hit


def test_the_cameras_see_all_around_and_overlap():
    rig = make_rig((450, 800))
    spans = []
    for camera in rig:
        np.testing.assert_allclose(camera.rotation_33 @ camera.rotation_33.T, np.eye(3), atol=1e-12)
        assert np.linalg.det(camera.rotation_33) == pytest.approx(1.0)
        ahead = camera.rotation_33[:, 2]
        half = np.degrees(np.arctan(400 / camera.intrinsics_33[0, 0]))
        yaw = np.degrees(np.arctan2(ahead[1], ahead[0]))
        spans.append((yaw - half, yaw + half))
    # clockwise from the front: each begins (left edge) before the one before it ends (right edge)
    for before, after in pairwise([*spans, spans[0]]):
        overlap = (after[1] - before[0] + 180) % 360 - 180
        assert 5 < overlap < 40


def test_every_image_has_texture(scene):
    for camera in scene.rig:
        image = scene.apply_weather(scene.render(0.5, camera), 0.5, camera)
        assert image.shape == (180, 320, 3)
        assert image.dtype == np.uint8
        assert image.std() > 20


def test_the_sky_has_no_seam_where_a_turn_ends():
    for condition in SCENE_CONDITIONS.values():
        sky = weather._draw_sky(condition, np.random.default_rng(0)).astype(int)
        turn = sky.shape[1] // 2
        steps = np.abs(np.diff(sky[..., :3], axis=1)).mean(axis=(0, 2))
        assert steps[turn - 1] <= steps[: turn - 1].max()
