"""Rays against numbers by hand and against projection back into the image."""

import numpy as np
import pytest
import torch

from drivemim.geometry import patch_rays, pose_matrix

K = [[100.0, 0, 100], [0, 100, 50], [0, 0, 1]]


def test_rays_by_hand():
    """Patches 2 x 2 of a 100 x 200 image: centres at x 50, 150 and y 25, 75."""
    pose = torch.eye(4)
    pose[:3, 3] = torch.tensor([1.0, 2, 3])
    rays = patch_rays(torch.tensor(K)[None, None, None], pose[None, None, None], (2, 2), (100, 200))
    assert rays.shape == (1, 1, 1, 2, 2, 6)
    assert (rays[..., :3] == torch.tensor([1.0, 2, 3])).all()
    length = (0.5**2 + 0.25**2 + 1) ** 0.5
    expected = torch.tensor(
        [[[-0.5, -0.25, 1], [0.5, -0.25, 1]], [[-0.5, 0.25, 1], [0.5, 0.25, 1]]]
    )
    torch.testing.assert_close(rays[0, 0, 0, ..., 3:], expected / length)


def test_a_flipped_image_has_flipped_rays():
    """Flipping the image turns x into width - x: fx is negated, cx becomes width - cx."""
    width = 200
    k = torch.tensor(K)
    k[0, 2] = 80  # not the centre, where a flip would not show
    flipped_k = k.clone()
    flipped_k[0, 0], flipped_k[0, 2] = -k[0, 0], width - k[0, 2]
    rays = patch_rays(k, torch.eye(4), (3, 4), (100, width))
    flipped = patch_rays(flipped_k, torch.eye(4), (3, 4), (100, width))
    torch.testing.assert_close(flipped, rays.flip(1))


def test_a_reflected_pose_reflects_the_rays():
    reflection = torch.diag(torch.tensor([-1.0, 1, 1, 1]))
    rays = patch_rays(torch.tensor(K), torch.eye(4), (3, 4), (100, 200))
    reflected = patch_rays(torch.tensor(K), reflection, (3, 4), (100, 200))
    torch.testing.assert_close(reflected, rays * torch.tensor([-1, 1, 1, -1, 1, 1]))


def test_points_on_rays_project_back_to_their_patches():
    rng = np.random.default_rng(0)
    poses = torch.from_numpy(
        pose_matrix(rng.normal(size=(2, 3, 6, 3)), rng.normal(size=(2, 3, 6, 4)))
    )
    k = torch.tensor(K, dtype=torch.float64) * torch.tensor([[1.3], [0.9], [1]])
    rays = patch_rays(k.expand(2, 3, 6, 3, 3), poses, (5, 7), (100, 200))
    points = rays[..., :3] + 7.5 * rays[..., 3:]
    homogeneous = torch.cat([points, torch.ones_like(points[..., :1])], dim=-1)
    camera = torch.einsum("btnij,btnhwj->btnhwi", torch.linalg.inv(poses), homogeneous)[..., :3]
    pixels = camera @ k.T
    pixels = pixels[..., :2] / pixels[..., 2:]
    x = ((torch.arange(7) + 0.5) * 200 / 7).double().expand(2, 3, 6, 5, 7)
    y = ((torch.arange(5) + 0.5) * 20).double()[:, None].expand(2, 3, 6, 5, 7)
    torch.testing.assert_close(pixels, torch.stack([x, y], dim=-1), atol=1e-4, rtol=0)
    assert rays[..., 3:].norm(dim=-1).numpy() == pytest.approx(1)
