"""Patches of images, and lists of the patches that a mask hides.

Patches are in row-major order. The P = C * patch_size * patch_size numbers of a patch are channel
first, like in the weight of a convolution. X stands for any number of leading axes joined into one.

Letters: P numbers of a patch, K listed patches (visible or hidden), V chosen images.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from drivemim.clips import patch_grid


def patchify(images_XCHW: Tensor, patch_size: int) -> Tensor:
    """Cut images into patches: (X, C, H, W) to (X, L, P)."""
    X, C, H, W = images_XCHW.shape
    h, w = patch_grid((H, W), patch_size)
    patches = images_XCHW.reshape(X, C, h, patch_size, w, patch_size)
    return patches.permute(0, 2, 4, 1, 3, 5).reshape(X, h * w, C * patch_size * patch_size)


def unpatchify(patches_XLP: Tensor, grid: tuple[int, int], patch_size: int) -> Tensor:
    """Put patches back together: (X, L, P) to (X, C, H, W)."""
    (h, w), X = grid, patches_XLP.shape[0]
    C = patches_XLP.shape[2] // patch_size**2
    patches = patches_XLP.reshape(X, h, w, C, patch_size, patch_size)
    return patches.permute(0, 3, 1, 4, 2, 5).reshape(X, C, h * patch_size, w * patch_size)


@dataclass(frozen=True, kw_only=True)
class PatchIndices:
    """A list of patches for each image, padded to the longest list.

    Attributes:
        indices_XK: int64, positions in the flattened grid, ascending; 0 where padded.
        present_XK: bool, False where padded; None if nothing is padded.
    """

    indices_XK: Tensor
    present_XK: Tensor | None

    @property
    def length(self) -> int:
        """K, the length of the lists with their padding."""
        return int(self.indices_XK.shape[1])

    @classmethod
    def from_mask(cls, mask_XL: Tensor, counts: Sequence[int]) -> PatchIndices:
        """List the patches that are True.

        Args:
            mask_XL: bool.
            counts: number of True patches per image, on the host, so that no synchronization with
                the device is needed.
        """
        longest = max(counts, default=0)
        indices_XK = mask_XL.logical_not().byte().argsort(dim=1, stable=True)[:, :longest]
        if min(counts, default=0) == longest:
            return cls(indices_XK=indices_XK, present_XK=None)
        positions_K = torch.arange(longest, device=mask_XL.device)
        present_XK = positions_K < mask_XL.sum(dim=1, keepdim=True)
        return cls(indices_XK=indices_XK.masked_fill(~present_XK, 0), present_XK=present_XK)

    def select(self, rows_V: Tensor) -> PatchIndices:
        """Return the lists of some of the images, padded like before.

        Args:
            rows_V: int64, indices of the images.
        """
        present_VK = None if self.present_XK is None else self.present_XK.index_select(0, rows_V)
        return PatchIndices(
            indices_XK=self.indices_XK.index_select(0, rows_V), present_XK=present_VK
        )

    def trim(self, counts: Sequence[int]) -> PatchIndices:
        """Return the lists without the padding that all of them have.

        Args:
            counts: lengths of the lists, without padding.
        """
        longest = max(counts, default=0)
        present_XK = None
        if self.present_XK is not None and min(counts, default=0) < longest:
            present_XK = self.present_XK[:, :longest]
        return PatchIndices(indices_XK=self.indices_XK[:, :longest], present_XK=present_XK)


@dataclass(frozen=True, kw_only=True)
class PatchMask:
    """The visible and hidden patches of X images, computed once per training step.

    Attributes:
        mask_Xhw: bool, True = hidden.
        patch_size: side of a patch, pixels.
        visible: the visible patches of each image.
        hidden: the hidden patches of each image.
        num_visible: number of visible patches of each image, on the host.
        valid_X: bool, whether each image is valid.
        valid: ``valid_X`` on the host.
    """

    mask_Xhw: Tensor
    patch_size: int
    visible: PatchIndices
    hidden: PatchIndices
    num_visible: tuple[int, ...]
    valid_X: Tensor
    valid: tuple[bool, ...]

    @classmethod
    def from_tensor(cls, mask: Tensor, patch_size: int, valid: Tensor | None = None) -> PatchMask:
        """List the patches of a mask, with one synchronization with the device for all lists.

        Args:
            mask: bool (..., h, w), True = hidden; the leading axes are joined into X.
            patch_size: side of a patch, pixels.
            valid: bool, with the shape of the leading axes; None if all are valid.
        """
        mask_Xhw = mask.flatten(0, -3)
        mask_XL = mask_Xhw.flatten(1)
        num_visible_X = mask_XL.logical_not().sum(dim=1)
        valid_X = torch.ones_like(num_visible_X, dtype=torch.bool)
        if valid is not None:
            valid_X = valid.flatten()
        num_visible, is_valid = torch.stack([num_visible_X, valid_X.long()]).tolist()
        num_hidden = [mask_XL.shape[1] - count for count in num_visible]
        return cls(
            mask_Xhw=mask_Xhw,
            patch_size=patch_size,
            visible=PatchIndices.from_mask(~mask_XL, num_visible),
            hidden=PatchIndices.from_mask(mask_XL, num_hidden),
            num_visible=tuple(num_visible),
            valid=tuple(bool(each) for each in is_valid),
            valid_X=valid_X,
        )

    @property
    def grid(self) -> tuple[int, int]:
        """Rows and columns of patches (h, w)."""
        return int(self.mask_Xhw.shape[1]), int(self.mask_Xhw.shape[2])

    @property
    def valid_rows(self) -> Tensor | None:
        """Int64 (V,), the valid images; None if all images are valid or none is."""
        count = sum(self.valid)
        if count in (0, len(self.valid)):
            return None
        return self.valid_X.logical_not().byte().argsort(stable=True)[:count]

    def rows_by_num_visible(self) -> Iterator[tuple[int, Tensor]]:
        """Group the images with equally many visible patches, fewest first.

        Yields:
            The number of visible patches, and int64 (V,), the images with that number.
        """
        visible_X = self.mask_Xhw.flatten(1).logical_not().sum(dim=1)
        for count in sorted(set(self.num_visible)):
            members = self.num_visible.count(count)
            yield count, (visible_X != count).byte().argsort(stable=True)[:members]

    def hidden_present(self, shape: tuple[int, int, int]) -> Tensor | None:
        """Return which hidden patches are not padding, bool (B, T, N, J); None if all are.

        Args:
            shape: B, T and N.
        """
        present_XJ = self.hidden.present_XK
        return None if present_XJ is None else present_XJ.reshape(*shape, -1)

    def inverted(self) -> PatchMask:
        """Return the mask that hides what this one shows, and shows what it hides."""
        total = self.grid[0] * self.grid[1]
        return replace(
            self,
            mask_Xhw=~self.mask_Xhw,
            visible=self.hidden,
            hidden=self.visible,
            num_visible=tuple(total - count for count in self.num_visible),
        )

    def select_valid(self) -> PatchMask:
        """Return the mask of the valid images; of all images if all are valid or none is."""
        rows_V = self.valid_rows
        if rows_V is None:
            return self
        pairs = zip(self.num_visible, self.valid, strict=True)
        num_visible = [count for count, valid in pairs if valid]
        total = self.grid[0] * self.grid[1]
        return PatchMask(
            mask_Xhw=self.mask_Xhw.index_select(0, rows_V),
            patch_size=self.patch_size,
            visible=self.visible.select(rows_V).trim(num_visible),
            hidden=self.hidden.select(rows_V).trim([total - count for count in num_visible]),
            num_visible=tuple(num_visible),
            valid=(True,) * len(num_visible),
            valid_X=self.valid_X.index_select(0, rows_V),
        )


def gather_patches(patches_XLD: Tensor, chosen: PatchIndices) -> Tensor:
    """Gather patches: (X, L, D) to (X, K, D); values in the padding are meaningless."""
    return patches_XLD.gather(1, chosen.indices_XK[..., None].expand(-1, -1, patches_XLD.shape[2]))


def scatter_patches(patches_XLD: Tensor, chosen: PatchIndices, values_XKD: Tensor) -> Tensor:
    """Return a copy of ``patches_XLD`` with ``values_XKD`` at the chosen patches."""
    index_XKD = chosen.indices_XK[..., None].expand(-1, -1, patches_XLD.shape[2])
    values_XKD = values_XKD.to(patches_XLD.dtype)
    if chosen.present_XK is None:
        return patches_XLD.scatter(1, index_XKD, values_XKD)
    # Padding is written to an extra patch after the last one, which is cut off again.
    X, L, D = patches_XLD.shape
    index_XKD = index_XKD.masked_fill(~chosen.present_XK[..., None], L)
    longer = torch.cat([patches_XLD, patches_XLD.new_zeros(X, 1, D)], 1)
    return longer.scatter(1, index_XKD, values_XKD)[:, :L]


def scatter_rows(values_V: Tensor, rows_V: Tensor, count: int) -> Tensor:
    """Return ``count`` rows with ``values_V`` at the rows ``rows_V``; the other rows are zero.

    Args:
        values_V: (V, ...).
        rows_V: int64, indices in the result.
        count: number of rows of the result.
    """
    rows = values_V.new_zeros(count, *values_V.shape[1:])
    rows[rows_V] = values_V
    return rows
