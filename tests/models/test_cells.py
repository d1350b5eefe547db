import pytest
import torch

from drivemim.models.cells import (
    ChosenCells,
    cells_to_image,
    choose_cells,
    grid_of,
    image_to_cells,
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
    chosen = choose_cells(
        torch.tensor([[[1, 0, 1], [0, 0, 1]], [[0, 1, 0], [1, 1, 0]]], dtype=torch.bool)
    )
    assert chosen.indices_XK.tolist() == [[0, 2, 5], [1, 3, 4]]
    assert chosen.present_XK is None
    nothing = choose_cells(torch.zeros(2, 1, 4, dtype=torch.bool))
    assert nothing.indices_XK.shape == (2, 0)


def test_unequal_lists_are_padded() -> None:
    chosen = choose_cells(torch.tensor([[[0, 1, 0]], [[1, 0, 1]], [[0, 0, 0]]], dtype=torch.bool))
    assert chosen.indices_XK.tolist() == [[1, 0], [0, 2], [0, 0]]
    assert chosen.present_XK is not None
    assert chosen.present_XK.tolist() == [[True, False], [True, True], [False, False]]


def test_take_and_put() -> None:
    cells = torch.arange(6.0).reshape(1, 3, 2)
    chosen = ChosenCells(indices_XK=torch.tensor([[2, 0]]), present_XK=None)
    taken = take_cells(cells, chosen)
    assert taken.tolist() == [[[4, 5], [0, 1]]]
    assert put_cells(cells, chosen, -taken).tolist() == [[[-0.0, -1], [2, 3], [-4, -5]]]


def test_padding_is_put_nowhere() -> None:
    cells = torch.zeros(2, 3, 1)
    chosen = choose_cells(torch.tensor([[[0, 1, 0]], [[1, 0, 1]]], dtype=torch.bool))
    values = torch.tensor([[[1.0], [9.0]], [[2.0], [3.0]]])
    assert put_cells(cells, chosen, values)[..., 0].tolist() == [[0, 1, 0], [2, 0, 3]]


def test_image_size_must_fit() -> None:
    assert grid_of((32, 48), 16) == (2, 3)
    with pytest.raises(ValueError, match=r"33x48 .* stride 16; resize or pad to 48x48"):
        grid_of((33, 48), 16)
    with pytest.raises(ValueError, match="0x48 .* has no pixels"):
        grid_of((0, 48), 16)
