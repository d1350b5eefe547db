import numpy as np
import pytest
import torch

from drivemim.clips import Clips
from drivemim.errors import ConfigError
from drivemim.models.decoders.context import RayTimeEmbedding, seconds_since_first

GRID = (2, 3)


def test_seconds_by_hand() -> None:
    times = torch.tensor([[[0, 1_533_000_000_200_000], [1_533_000_000_700_000, 0]]])
    valid = torch.tensor([[[False, True], [True, False]]])
    assert seconds_since_first(times, valid).tolist() == [[[0.0, 0.0], [0.5, 0.0]]]
    assert seconds_since_first(times, valid & False).tolist() == [[[0.0, 0.0], [0.0, 0.0]]]


def test_missing_inputs_of_the_rays_are_named() -> None:
    images = torch.zeros(1, 2, 1, 64, 96, 3, dtype=torch.uint8)
    with pytest.raises(ConfigError, match="rays and times needs the intrinsics and poses"):
        RayTimeEmbedding(16)(Clips.from_images(images, timestamps=[[[0], [1]]]), GRID)
    calibrated = Clips.from_images(images, intrinsics=torch.eye(3), poses=torch.eye(4))
    with pytest.raises(ConfigError, match=r"needs the timestamps of .* \(\.\.\.\), microseconds"):
        RayTimeEmbedding(16)(calibrated, GRID)
    now = Clips.from_images(images[:, 0], intrinsics=torch.eye(3), poses=torch.eye(4))
    assert RayTimeEmbedding(16)(now, GRID).shape == (1, 1, 1, 6, 16)


def test_rays_are_not_rounded_under_autocast(clips: Clips) -> None:
    torch.manual_seed(0)
    embedding = RayTimeEmbedding(16)
    seen: list[torch.Tensor] = []
    embedding.linear.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    embedding(clips, GRID)
    with torch.autocast("cpu", torch.bfloat16):
        embedding(clips, GRID)
    assert torch.equal(seen[0], seen[1])


def test_geometry_features_by_hand(clips: Clips) -> None:
    embedding = RayTimeEmbedding(16)
    seen: list[torch.Tensor] = []
    embedding.linear.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    embedding(clips, GRID)
    # Second step, first camera: 3 m along x, 0.5 s later; centre of the patch (0, 0) of 2x3 patches
    # over 64x96 pixels is (16, 16), focal length 76.8, centre (48, 32).
    ray = np.array([(16 - 48) / 76.8, (16 - 32) / 76.8, 1.0])
    values = np.array([3.0, 0, 0, *ray / np.linalg.norm(ray), 0.5])
    values = values / [64, 64, 64, 4, 4, 4, 16]
    phases = (values[:, None] * 2 * np.pi * 2.0 ** np.arange(7)).ravel()
    expected = np.concatenate([values, np.sin(phases), np.cos(phases)])
    np.testing.assert_allclose(seen[0][0, 1, 0, 0], expected, atol=1e-5)
