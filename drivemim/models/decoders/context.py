"""Context of a decoder's tokens: embeddings of rays and times, and the scope of attention.

Letters: G groups of frames that attend to each other, V their tokens.
"""

from __future__ import annotations

from math import pi
from typing import Literal, get_args

import torch
from torch import Tensor, nn

from drivemim.clips import Clips
from drivemim.geometry.rays import patch_rays
from drivemim.models.patches import PatchMask

AttentionScope = Literal["clip", "frame"]
"""``clip``: attend to visible patches of all times and cameras; ``frame``: of the own image."""

LONGEST_METRES = 64.0
LONGEST_DIRECTION = 4.0
LONGEST_SECONDS = 16.0
OCTAVES = 7


class RayTimeEmbedding(nn.Module):
    """Fourier features of origin (metres), direction and time (seconds), then a linear map.

    Each quantity has ``OCTAVES`` wavelengths: the longest is ``LONGEST_METRES``,
    ``LONGEST_DIRECTION`` or ``LONGEST_SECONDS``, and each next one is half as long.
    """

    longest_7: Tensor
    frequencies: Tensor

    def __init__(self, dims: int) -> None:
        super().__init__()
        longest = [LONGEST_METRES] * 3 + [LONGEST_DIRECTION] * 3 + [LONGEST_SECONDS]
        self.register_buffer("longest_7", torch.tensor(longest), persistent=False)
        frequencies = torch.tensor([2 * pi * 2.0**octave for octave in range(OCTAVES)])
        self.register_buffer("frequencies", frequencies, persistent=False)
        self.linear = nn.Linear(7 * (1 + 2 * OCTAVES), dims)

    def forward(self, clips: Clips, grid: tuple[int, int]) -> Tensor:
        """Return the embedding of every patch, (B, T, N, L, D)."""
        clips.require(
            "A decoder's embedding of rays and times", "intrinsics", "poses", "timestamps"
        )
        (B, T, N), (h, w) = clips.shape, grid
        # Camera matrices hold thousands of pixels: half precision would distort the rays.
        with torch.autocast(clips.images_BTNHWC.device.type, enabled=False):
            rays_BTNhw6 = patch_rays(
                clips.intrinsics_BTN33.float(),
                clips.camera_to_clip_BTN44.float(),
                grid,
                clips.image_size,
            )
            seconds_BTN = seconds_since_first(clips.timestamps_BTN, clips.valid_BTN)
            seconds_BTNL1 = seconds_BTN[..., None, None].expand(-1, -1, -1, h * w, -1)
            values = torch.cat([rays_BTNhw6.reshape(B, T, N, h * w, 6), seconds_BTNL1], dim=-1)
            values = values / self.longest_7
            phases = (values[..., None] * self.frequencies).flatten(-2)
            features = torch.cat([values, phases.sin(), phases.cos()], dim=-1)
        out: Tensor = self.linear(features.to(self.linear.weight.dtype))
        return out


def seconds_since_first(timestamps_BTN: Tensor, valid_BTN: Tensor) -> Tensor:
    """Return float seconds since each clip's first valid frame; 0 for invalid frames."""
    latest = torch.iinfo(torch.int64).max
    first_B = timestamps_BTN.masked_fill(~valid_BTN, latest).flatten(1).amin(dim=1)
    elapsed_BTN = (timestamps_BTN - first_B[:, None, None]).masked_fill(~valid_BTN, 0)
    return elapsed_BTN.float() * 1e-6


def check_attention_scope(scope: str) -> None:
    """Raise ``ValueError`` unless the name is one of ``AttentionScope``."""
    if scope not in get_args(AttentionScope):
        raise ValueError(f"attention_scope={scope!r} must be 'clip' or 'frame'")


def usable_keys(mask: PatchMask, num_clips: int, scope: AttentionScope) -> Tensor | None:
    """Return which visible tokens may be attended to.

    A group is the frames that attend to each other. A group without any usable token uses all of
    its tokens: attention to no token is NaN in some of PyTorch's kernels, and the result of such a
    group is not used.

    Args:
        mask: mask of all frames of all clips. Padding and patches of invalid frames may not be
            attended to.
        num_clips: B.
        scope: whether a group is a clip or a frame.

    Returns:
        Bool (groups, tokens of a group), or None if all may be attended to.
    """
    present_XK, valid_X1 = mask.visible.present_XK, mask.valid_X[:, None]
    # With scope "frame", an invalid frame attends only to itself, and its result is not used:
    # nothing needs to be left out.
    all_valid = scope == "frame" or all(mask.valid)
    if present_XK is None:
        if all_valid:
            return None
        use_XK = valid_X1.expand(-1, mask.visible.length)
    else:
        use_XK = present_XK if all_valid else present_XK & valid_X1
    use_GV = use_XK.reshape(num_clips if scope == "clip" else len(use_XK), -1)
    return use_GV | ~use_GV.any(dim=1, keepdim=True)
