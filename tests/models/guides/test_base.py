import torch

from drivemim.models.guides.base import error_map


def test_errors_by_hand() -> None:
    """Two frames of 2 x 3 cells that hide three and two: the second one's last error is padding."""
    mask = torch.tensor([[[0, 1, 0], [1, 1, 0]], [[1, 0, 0], [0, 0, 1]]]).bool()
    errors = torch.tensor([[1.0, 2.0, 3.0], [4.0, 5.0, torch.nan]])
    expected = [[[0.0, 1.0, 0.0], [2.0, 3.0, 0.0]], [[4.0, 0.0, 0.0], [0.0, 0.0, 5.0]]]
    found = error_map(errors[None, :, None], mask[None, :, None])
    assert found[0, :, 0].tolist() == expected


def test_nothing_hidden() -> None:
    found = error_map(torch.zeros(1, 1, 2, 0), torch.zeros(1, 1, 2, 2, 3, dtype=torch.bool))
    assert found.equal(torch.zeros(1, 1, 2, 2, 3))
