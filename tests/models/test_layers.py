import copy

import numpy as np
import pytest
import torch
from torch import nn

from drivemim.models import layers
from drivemim.models.layers import DropPath, SelfAttention, grid_positions, update_average


def test_self_attention_is_torchs_multihead_attention() -> None:
    torch.manual_seed(0)
    ours, theirs = SelfAttention(12, 3).double(), nn.MultiheadAttention(12, 3, batch_first=True)
    theirs = theirs.double()
    theirs.in_proj_weight.data = ours.qkv.weight.data
    theirs.in_proj_bias.data = ours.qkv.bias.data
    theirs.out_proj.load_state_dict(ours.proj.state_dict())
    x = torch.randn(2, 7, 12).double()
    torch.testing.assert_close(ours(x), theirs(x, x, x)[0])


def test_positions_by_hand() -> None:
    positions = grid_positions((2, 3), 8, device=torch.device("cpu"), dtype=torch.float64)
    for row in range(2):
        for column in range(3):
            expected = [
                np.sin(column), np.sin(column * 0.01), np.cos(column), np.cos(column * 0.01),
                np.sin(row), np.sin(row * 0.01), np.cos(row), np.cos(row * 0.01),
            ]  # fmt: skip
            np.testing.assert_allclose(positions[row * 3 + column], expected, atol=1e-6)


def test_a_patch_keeps_its_position_when_the_grid_grows() -> None:
    options = dict(device=torch.device("cpu"), dtype=torch.float32)
    small = grid_positions((2, 3), 16, **options).reshape(2, 3, 16)
    large = grid_positions((5, 9), 16, **options).reshape(5, 9, 16)
    assert small.equal(large[:2, :3])


def test_positions_of_a_coarse_grid_are_the_middles_of_its_patches() -> None:
    options = dict(device=torch.device("cpu"), dtype=torch.float32)
    coarse = grid_positions((2, 1), 8, spacing=(3.0, 5.0), **options)
    fine = grid_positions((6, 5), 8, **options).reshape(6, 5, 8)
    torch.testing.assert_close(coarse, fine[[1, 4], 2])


def test_drop_path_keeps_the_expectation() -> None:
    torch.manual_seed(0)
    layer, ones = DropPath(0.25), torch.ones(20_000, 1, 2)
    dropped = layer(ones)
    assert set(dropped.unique().tolist()) == {0.0, torch.tensor(1 / 0.75).item()}
    assert abs(dropped.mean() - 1.0) < 0.02
    assert dropped[..., 0].equal(dropped[..., 1])
    assert layer.eval()(ones).equal(ones)


def test_an_average_has_the_batch_statistics_of_rank_zero(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each process has statistics of its own, and a checkpoint has those of rank 0."""
    module = nn.Sequential(nn.BatchNorm1d(2), nn.BatchNorm1d(1))
    average = copy.deepcopy(module).requires_grad_(False)
    of_rank_zero = torch.tensor([1.0, 2, 3, 4, 5, 6])  # mean and variance of each layer, in order

    def broadcast(tensor: torch.Tensor, src: int) -> None:
        assert src == 0
        tensor.copy_(of_rank_zero)

    monkeypatch.setattr(layers.dist, "is_distributed", lambda: True)
    monkeypatch.setattr(layers.dist, "broadcast", broadcast)
    update_average(average, module, torch.zeros((), dtype=torch.int64), 0.5)
    assert average[0].running_mean.tolist() == [1, 2]
    assert average[0].running_var.tolist() == [3, 4]
    assert average[1].running_mean.tolist() == [5]
    assert average[1].running_var.tolist() == [6]
    assert module[0].running_mean.tolist() == [0, 0]  # the process keeps its own
