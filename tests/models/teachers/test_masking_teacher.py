import torch

from drivemim.models.patches import PatchMask
from drivemim.models.teachers.masking_teacher import scatter_errors


def test_errors_by_hand() -> None:
    """Two frames of 2 x 3 patches hide three and two: the second's last error is padding."""
    mask = torch.tensor([[[0, 1, 0], [1, 1, 0]], [[1, 0, 0], [0, 0, 1]]]).bool()
    errors = torch.tensor([[1.0, 2.0, 3.0], [4.0, 5.0, torch.nan]])
    expected = [[[0.0, 1.0, 0.0], [2.0, 3.0, 0.0]], [[4.0, 0.0, 0.0], [0.0, 0.0, 5.0]]]
    found = scatter_errors(errors[None, :, None], PatchMask.from_tensor(mask, 16))
    assert found[0, :, 0].tolist() == expected


def test_nothing_hidden() -> None:
    mask = PatchMask.from_tensor(torch.zeros(1, 1, 2, 2, 3, dtype=torch.bool), 16)
    found = scatter_errors(torch.zeros(1, 1, 2, 0), mask)
    assert found.equal(torch.zeros(1, 1, 2, 2, 3))
