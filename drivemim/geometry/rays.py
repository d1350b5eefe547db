"""Viewing rays of patches."""

import torch
from torch import Tensor


def patch_rays(
    intrinsics_BTN33: Tensor,
    camera_to_clip_BTN44: Tensor,
    grid: tuple[int, int],
    image_size: tuple[int, int],
) -> Tensor:
    """Compute rays through the centres of the patches, in the clip frame.

    Any leading shape works in place of (B, T, N). Mirrored cameras (a negative focal length, or a
    reflection in the pose) work too.

    Args:
        intrinsics_BTN33: float, pixels of an image of ``image_size``.
        camera_to_clip_BTN44: float, metres.
        grid: patches down and across (h, w).
        image_size: (height, width) in pixels; the image spans [0, width] x [0, height].

    Returns:
        float [B, T, N, h, w, 6]: origin in metres, then the unit direction.
    """
    (h, w), (height, width) = grid, image_size
    device, dtype = intrinsics_BTN33.device, intrinsics_BTN33.dtype
    y_h = (torch.arange(h, device=device, dtype=dtype) + 0.5) * (height / h)
    x_w = (torch.arange(w, device=device, dtype=dtype) + 0.5) * (width / w)
    y_hw, x_hw = torch.meshgrid(y_h, x_w, indexing="ij")
    pixels_L3 = torch.stack([x_hw, y_hw, torch.ones_like(x_hw)], dim=-1).reshape(h * w, 3)
    # inv_ex does not wait for the device to report singular matrices.
    to_camera_BTN33 = torch.linalg.inv_ex(intrinsics_BTN33).inverse
    to_clip_BTN33 = camera_to_clip_BTN44[..., :3, :3] @ to_camera_BTN33
    directions_BTNL3 = pixels_L3 @ to_clip_BTN33.transpose(-1, -2)
    directions_BTNL3 = torch.nn.functional.normalize(directions_BTNL3, dim=-1)
    origins_BTNL3 = camera_to_clip_BTN44[..., None, :3, 3].expand_as(directions_BTNL3)
    rays_BTNL6 = torch.cat([origins_BTNL3, directions_BTNL3], dim=-1)
    return rays_BTNL6.reshape(*rays_BTNL6.shape[:-2], h, w, 6)
