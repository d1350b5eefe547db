import pytest
import torch

from drivemim.models.cells import (
    cells_to_image,
    grid_of,
    image_to_cells,
    indices_of,
    put_cells,
    take_cells,
)


def test_cells_of_a_counted_image() -> None:
    images = torch.arange(16.0).reshape(1, 1, 4, 4)
    cells = image_to_cells(images, 2)
    assert cells.tolist() == [[[0, 1, 4, 5], [2, 3, 6, 7], [8, 9, 12, 13], [10, 11, 14, 15]]]


def test_a_cell_has_the_order_of_a_convolution_weight() -> None:
    torch.manual_seed(0)
    images, weight = torch.randn(2, 3, 8, 12).double(), torch.randn(5, 3, 4, 4).double()
    convolved = torch.nn.functional.conv2d(images, weight, stride=4)
    product = image_to_cells(images, 4) @ weight.flatten(1).T
    torch.testing.assert_close(product.transpose(1, 2).reshape(convolved.shape), convolved)


def test_back_to_the_image() -> None:
    images = torch.rand(3, 2, 6, 9)
    assert cells_to_image(image_to_cells(images, 3), (2, 3), 3).equal(images)


def test_indices_ascend() -> None:
    chosen = torch.tensor([[[1, 0, 1], [0, 0, 1]], [[0, 1, 0], [1, 1, 0]]], dtype=torch.bool)
    assert indices_of(chosen).tolist() == [[0, 2, 5], [1, 3, 4]]
    assert indices_of(torch.zeros(2, 1, 4, dtype=torch.bool)).shape == (2, 0)


def test_unequal_counts_are_refused() -> None:
    chosen = torch.tensor([[[True, False]], [[True, True]]])
    with pytest.raises(ValueError, match="between 1 and 2 of 2 cells"):
        indices_of(chosen)


def test_take_and_put() -> None:
    cells = torch.arange(6.0).reshape(1, 3, 2)
    index = torch.tensor([[2, 0]])
    taken = take_cells(cells, index)
    assert taken.tolist() == [[[4, 5], [0, 1]]]
    assert put_cells(cells, index, -taken).tolist() == [[[-0.0, -1], [2, 3], [-4, -5]]]


def test_image_size_must_fit() -> None:
    assert grid_of((32, 48), 16) == (2, 3)
    with pytest.raises(ValueError, match=r"33x48 .* stride 16; resize or pad to 48x48"):
        grid_of((33, 48), 16)
