import torch

from drivemim.models.patches import (
    PatchIndices,
    PatchMask,
    gather_patches,
    patchify,
    scatter_patches,
    scatter_rows,
    unpatchify,
)


def list_patches(rows: list[list[int]]) -> PatchIndices:
    return PatchIndices.from_mask(
        torch.tensor(rows, dtype=torch.bool), [sum(each) for each in rows]
    )


def test_patches_of_a_counted_image() -> None:
    images = torch.arange(16.0).reshape(1, 1, 4, 4)
    patches = patchify(images, 2)
    assert patches.tolist() == [[[0, 1, 4, 5], [2, 3, 6, 7], [8, 9, 12, 13], [10, 11, 14, 15]]]


def test_a_patch_has_the_order_of_a_convolution_weight() -> None:
    torch.manual_seed(0)
    images, weight = torch.randn(2, 3, 8, 12).double(), torch.randn(5, 3, 4, 4).double()
    convolved = torch.nn.functional.conv2d(images, weight, stride=4)
    product = patchify(images, 4) @ weight.flatten(1).T
    torch.testing.assert_close(product.transpose(1, 2).reshape(convolved.shape), convolved)


def test_back_to_the_image() -> None:
    images = torch.rand(3, 2, 6, 9)
    assert unpatchify(patchify(images, 3), (2, 3), 3).equal(images)


def test_indices_ascend() -> None:
    chosen = list_patches([[1, 0, 1, 0, 0, 1], [0, 1, 0, 1, 1, 0]])
    assert chosen.indices_XK.tolist() == [[0, 2, 5], [1, 3, 4]]
    assert chosen.present_XK is None
    nothing = list_patches([[0, 0, 0, 0], [0, 0, 0, 0]])
    assert nothing.indices_XK.shape == (2, 0)


def test_unequal_lists_are_padded() -> None:
    chosen = list_patches([[0, 1, 0], [1, 0, 1], [0, 0, 0]])
    assert chosen.indices_XK.tolist() == [[1, 0], [0, 2], [0, 0]]
    assert chosen.present_XK is not None
    assert chosen.present_XK.tolist() == [[True, False], [True, True], [False, False]]


def test_gather_and_scatter() -> None:
    patches = torch.arange(6.0).reshape(1, 3, 2)
    chosen = PatchIndices(indices_XK=torch.tensor([[2, 0]]), present_XK=None)
    taken = gather_patches(patches, chosen)
    assert taken.tolist() == [[[4, 5], [0, 1]]]
    assert scatter_patches(patches, chosen, -taken).tolist() == [[[-0.0, -1], [2, 3], [-4, -5]]]


def test_padding_is_scattered_nowhere() -> None:
    patches = torch.zeros(2, 3, 1)
    chosen = list_patches([[0, 1, 0], [1, 0, 1]])
    values = torch.tensor([[[1.0], [9.0]], [[2.0], [3.0]]])
    assert scatter_patches(patches, chosen, values)[..., 0].tolist() == [[0, 1, 0], [2, 0, 3]]


MASK = torch.tensor(
    [[[1, 0, 0], [0, 1, 0]], [[1, 1, 1], [1, 1, 1]], [[0, 1, 1], [1, 1, 0]], [[1, 1, 0], [1, 0, 1]]]
).bool()
"""Four images of 2 x 3 patches, of which 4, 0, 2 and 2 are visible."""


def test_mask_by_hand() -> None:
    mask = PatchMask.from_tensor(MASK, 16)
    assert mask.grid == (2, 3)
    assert mask.num_visible == (4, 0, 2, 2)
    assert mask.visible.indices_XK.tolist() == [
        [1, 2, 3, 5], [0, 0, 0, 0], [0, 5, 0, 0], [2, 4, 0, 0],
    ]  # fmt: skip
    assert mask.visible.present_XK is not None
    assert mask.visible.present_XK.sum(dim=1).tolist() == [4, 0, 2, 2]
    assert mask.hidden.indices_XK.tolist() == [
        [0, 4, 0, 0, 0, 0], [0, 1, 2, 3, 4, 5], [1, 2, 3, 4, 0, 0], [0, 1, 3, 5, 0, 0],
    ]  # fmt: skip
    assert (mask.valid, mask.valid_rows) == ((True,) * 4, None)
    assert mask.select_valid() is mask


def test_leading_axes_are_joined() -> None:
    both = PatchMask.from_tensor(MASK, 16), PatchMask.from_tensor(MASK.reshape(2, 2, 2, 3), 16)
    assert both[0].mask_Xhw.equal(both[1].mask_Xhw)
    assert both[0].num_visible == both[1].num_visible


def test_valid_images_are_padded_to_the_longest_of_theirs() -> None:
    valid = torch.tensor([[False, False], [True, True]])
    mask = PatchMask.from_tensor(MASK.reshape(2, 2, 2, 3), 16, valid)
    assert mask.valid_rows is not None
    assert mask.valid_rows.tolist() == [2, 3]
    some = mask.select_valid()
    assert some.mask_Xhw.equal(MASK[2:])
    assert some.num_visible == (2, 2)
    assert some.visible.indices_XK.tolist() == [[0, 5], [2, 4]]
    assert some.hidden.indices_XK.tolist() == [[1, 2, 3, 4], [0, 1, 3, 5]]
    assert some.visible.present_XK is None
    assert some.hidden.present_XK is None
    ragged = PatchMask.from_tensor(MASK, 16, torch.tensor([True, False, True, True]))
    some = ragged.select_valid()
    assert some.visible.indices_XK.tolist() == [[1, 2, 3, 5], [0, 5, 0, 0], [2, 4, 0, 0]]
    assert some.visible.present_XK is not None
    assert some.visible.present_XK.sum(dim=1).tolist() == [4, 2, 2]


def test_no_valid_image_selects_all() -> None:
    mask = PatchMask.from_tensor(MASK, 16, torch.zeros(4, dtype=torch.bool))
    assert (mask.valid, mask.valid_rows) == ((False,) * 4, None)
    assert mask.select_valid() is mask


def test_images_are_grouped_by_number_of_visible_patches() -> None:
    groups = PatchMask.from_tensor(MASK, 16).rows_by_num_visible()
    assert [(count, rows.tolist()) for count, rows in groups] == [(0, [1]), (2, [2, 3]), (4, [0])]


def test_rows_return_to_their_places() -> None:
    spread = scatter_rows(torch.tensor([[1.0, 2.0], [3.0, 4.0]]), torch.tensor([2, 0]), 3)
    assert spread.tolist() == [[3.0, 4.0], [0.0, 0.0], [1.0, 2.0]]
