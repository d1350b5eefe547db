"""Rendered images follow the package's convention: pixel i spans [i, i + 1].

Every kind of primitive is compared with rays through pixel centres (``patch_rays`` of a grid with a
patch per pixel) or with corners projected by the camera's intrinsics.
"""

from dataclasses import replace

import numpy as np
import pytest
import torch

from drivemim.geometry import patch_rays
from drivemim.town.ground import Ground, shadow_texture
from drivemim.town.quads import Quads, Sprites, Texture, TextureBank
from drivemim.town.render import draw_shadows, render
from drivemim.town.rig import Camera, make_rig
from drivemim.town.town_config import DAY, SCENE_CONDITIONS
from drivemim.town.weather import _CameraMaps

HEIGHT, WIDTH = 90, 160
# Looks along world x and a little down, from 2 m above the ground.
PITCH = 0.2
CAMERA = Camera(
    "TEST",
    np.array([[100.0, 0, 80], [0, 100.0, 45], [0, 0, 1]]),
    np.zeros(3),
    np.array(
        [
            [0.0, -np.sin(PITCH), np.cos(PITCH)],
            [-1, 0, 0],
            [0, -np.cos(PITCH), -np.sin(PITCH)],
        ]
    ),
    (HEIGHT, WIDTH),
    0,
)
ORIGIN = np.array([0.0, 0.0, 2.0])
POSE = ORIGIN, CAMERA.rotation_33


def pixel_rays():
    """Rays through pixel centres, one metre deep each: (H, W, 3)."""
    pose = np.eye(4)
    pose[:3, :3], pose[:3, 3] = CAMERA.rotation_33, ORIGIN
    rays = patch_rays(
        torch.from_numpy(CAMERA.intrinsics_33)[None, None, None],
        torch.from_numpy(pose)[None, None, None],
        (HEIGHT, WIDTH),
        (HEIGHT, WIDTH),
    )
    directions = rays[0, 0, 0, ..., 3:].numpy()
    return directions / (directions @ CAMERA.rotation_33[:, 2])[..., None]


def ramps():
    """An image whose blue grows to the right and whose green grows downward, by 4 a texel."""
    image = np.full((64, 64, 4), 255, np.uint8)
    image[..., 0] = 4 * np.arange(64)[None, :]
    image[..., 1] = 4 * np.arange(64)[:, None]
    return image


def fractions(levels):
    """Position of a level in ``ramps``, as a fraction of the side; a texel spans 4 levels."""
    return (levels / 4 + 0.5) / 64


def mean_shift(levels_HW, fraction_HW, inside_HW, axis):
    """Mean shift of a rendered ramp along an axis of the image, pixels."""
    step_HW = np.gradient(fraction_HW, axis=axis)
    # Beside its edges a quad's colours are mixed with what is around it.
    inner_HW = inside_HW & (np.abs(fraction_HW - 0.5) < 0.47)
    assert inner_HW.sum() > 500
    return abs(((fractions(levels_HW) - fraction_HW) / step_HW)[inner_HW].mean())


def intersect(rays_HW3, corner_3, right_3, down_3):
    """Depth at which rays meet a rectangle's plane, and the fractions of its sides there."""
    normal = np.cross(right_3, down_3)
    depth = ((corner_3 - ORIGIN) @ normal) / (rays_HW3 @ normal)
    offset = ORIGIN + rays_HW3 * depth[..., None] - corner_3
    return depth, offset @ right_3 / (right_3 @ right_3), offset @ down_3 / (down_3 @ down_3)


# Upright and turned away, and lying: top left corner, right, down.
TURNED = np.array([9.3, 3.11, 4.17]), np.array([3.0, -5.5, 0]), np.array([0, 0, -3.23])
LYING = np.array([9.0, 2.57, 0.4]), np.array([0, -5.03, 0]), np.array([-4.7, 0, 0])


@pytest.mark.parametrize("rectangle", [TURNED, LYING], ids=["upright", "lying"])
def test_a_rectangle_covers_the_pixels_whose_centres_it_projects_on(rectangle):
    bank = TextureBank()
    number = bank.add_image(ramps())
    quads = Quads.make([(*(side.tolist() for side in rectangle), number)], instance_id=3)
    output = render(quads, bank, None, CAMERA, POSE, amodal=True)
    depth, across, down = intersect(pixel_rays(), *rectangle)
    expected = (depth > 0) & (np.abs(across - 0.5) < 0.5) & (np.abs(down - 0.5) < 0.5)
    covered = output.instance_ids_HW == 3
    assert expected.sum() > 600
    # OpenCV rounds positions in the texture; hardly any pixel's centre is so close to an edge.
    assert (covered ^ expected).sum() <= 0.01 * expected.sum()
    assert output.amodal_areas == {3: covered.sum()}
    both = covered & expected
    np.testing.assert_allclose(output.depth()[both], depth[both], rtol=1e-5)
    assert mean_shift(output.colours_HW4[..., 0], across, both, 1) < 0.05
    assert mean_shift(output.colours_HW4[..., 1], down, both, 0) < 0.05


def test_the_edges_of_a_wall_are_the_projected_corners_to_a_fraction_of_a_pixel():
    # A wall 10 m ahead of a level camera, moved by a tenth of a pixel at a time: the column at
    # which it begins changes where the projected edge passes a pixel's centre.
    level = replace(CAMERA, rotation_33=np.array([[0.0, 0, 1], [-1, 0, 0], [0, -1, 0]]))
    bank = TextureBank()
    number = bank.add_image(np.full((64, 64, 4), 255, np.uint8))
    for step in range(10):
        left, top = 40 + step / 10 + 0.05, 20 + step / 10 + 0.05
        corner = [10.0, (80 - left) / 10, 2 + (45 - top) / 10]
        quads = Quads.make([(corner, [0, -3.0, 0], [0, 0, -2.0], number)], instance_id=1)
        output = render(quads, bank, None, level, (ORIGIN, level.rotation_33))
        rows, columns = np.nonzero(output.instance_ids_HW)
        # Columns and rows whose centres are right of and below the edges: ceil(edge - 0.5).
        assert (columns.min(), columns.max()) == (np.ceil(left - 0.5), np.ceil(left + 29.5) - 1)
        assert (rows.min(), rows.max()) == (np.ceil(top - 0.5), np.ceil(top + 19.5) - 1)


def test_a_sprite_covers_the_pixels_whose_centres_it_projects_on():
    bank = TextureBank()
    sprites = Sprites(
        np.array([[8.0, 1.3, 0.0]]),
        np.array([1.7]),
        np.array([3.1]),
        np.array([bank.add_image(ramps())]),
        np.array([5]),
    )
    quads = sprites.facing(ORIGIN)
    output = render(quads, bank, None, CAMERA, POSE)
    rectangle = quads.corner_M3[0], quads.right_M3[0], quads.down_M3[0]
    _, across, down = intersect(pixel_rays(), *rectangle)
    expected = (np.abs(across - 0.5) < 0.5) & (np.abs(down - 0.5) < 0.5)
    covered = output.instance_ids_HW == 5
    assert (covered ^ expected).sum() <= 0.01 * expected.sum()
    both = covered & expected
    assert mean_shift(output.colours_HW4[..., 0], across, both, 1) < 0.05
    assert mean_shift(output.colours_HW4[..., 1], down, both, 0) < 0.05


def test_the_ground_is_drawn_where_rays_through_pixel_centres_intersect_it():
    ground = Ground(Texture(ramps()), np.array([2.0, -3.2]), np.array([6.4, 6.4]))
    output = render(Quads.make([]), TextureBank(), ground, CAMERA, POSE)
    rays = pixel_rays()
    depth = -ORIGIN[2] / np.where(rays[..., 2] < 0, rays[..., 2], np.nan)
    positions = ORIGIN + rays * depth[..., None]
    np.testing.assert_allclose(output.depth()[output.ground_HW], depth[output.ground_HW], 1e-5)
    # To the right in the texture is along x; down is along -y.
    across, down = (positions[..., 0] - 2) / 6.4, (3.2 - positions[..., 1]) / 6.4
    inside = (np.abs(across - 0.5) < 0.5) & (np.abs(down - 0.5) < 0.5)
    assert mean_shift(output.colours_HW4[..., 0], across, inside, 0) < 0.05
    assert mean_shift(output.colours_HW4[..., 1], down, inside, 1) < 0.05


def test_a_shadow_is_drawn_where_rays_through_pixel_centres_intersect_it():
    white = np.full((64, 64, 4), 255, np.uint8)
    ground = Ground(Texture(white), np.array([-20.0, -20.0]), np.array([40.0, 40.0]))
    output = render(Quads.make([]), TextureBank(), ground, CAMERA, POSE)
    rectangle = np.array([9.0, 1.7, 0]), np.array([0, -3.3, 0]), np.array([-3.9, 0, 0])
    shadows = Quads.make([(*(side.tolist() for side in rectangle), 0)], two_sided=True)
    draw_shadows(output, shadows, ramps()[..., 0].astype(np.float32) / 255, CAMERA, POSE)
    _, across, down = intersect(pixel_rays(), *rectangle)
    inside = (np.abs(across - 0.5) < 0.5) & (np.abs(down - 0.5) < 0.47)
    assert mean_shift(output.colours_HW4[..., 0], across, inside, 1) < 0.05


def test_headlights_of_a_camera_in_the_middle_are_symmetric():
    night = next(condition for condition in SCENE_CONDITIONS.values() if condition.night)
    level = replace(CAMERA, rotation_33=np.array([[0.0, 0, 1], [-1, 0, 0], [0, -1, 0]]))
    beam = _CameraMaps(level, night).beam
    assert np.ptp(beam) > 1
    np.testing.assert_allclose(beam, beam[:, ::-1], atol=1e-5)


def test_the_principal_point_is_the_middle_of_the_image_across():
    for camera in make_rig((450, 800)):
        assert camera.intrinsics_33[0, 2] == 400.0
        left, right = (np.linalg.inv(camera.intrinsics_33) @ [x, 0, 1] for x in (0, 800))
        assert left[0] == pytest.approx(-right[0])


def test_a_shadow_is_as_large_as_its_rectangle():
    # The gain reaches 1 at the rectangle's edge, half a texel (1 / 64 of half a side) beyond the
    # centre of the first texel; it is full a quarter of half a side further in.
    gain = shadow_texture(DAY)
    assert gain.shape == (64, 64)
    depth = 1 - gain[32, 32]
    np.testing.assert_allclose(1 - gain[32, 0], depth * 4 / 64, rtol=1e-4)
