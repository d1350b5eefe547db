"""An exported backbone as a PyTorch module that normalises its input."""

from __future__ import annotations

from contextlib import nullcontext
from pathlib import Path
from typing import Any

import torch
from mmengine.config import Config
from torch import Tensor, nn

from drivemim.checkpoint_kinds import check_weights, describe_mismatch
from drivemim.config.building import build_model
from drivemim.errors import CheckpointError
from drivemim.transfer.exporting import read_export
from drivemim.transfer.feature_check import compare_features, fixed_image, level_numbers


class PretrainedBackbone(nn.Module):
    """A backbone that takes RGB images as they are read and returns feature maps.

    Args:
        backbone: MMDetection's kind of backbone, which returns a tuple of maps.
        metadata: metadata of the export.

    Attributes:
        backbone: the module itself, for normalised input.
        metadata: architecture, normalisation, data and recipe of the export.
        strides: pixels of the input per position of each map.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, backbone: nn.Module, metadata: dict[str, Any]) -> None:
        super().__init__()
        self.backbone = backbone
        self.metadata = metadata
        self.strides: list[int] = list(metadata["strides"])
        normalization = metadata["normalization"]
        # Images come as RGB; without ``bgr_to_rgb``, the backbone was trained on OpenCV's BGR.
        self.flip_channels = not normalization["bgr_to_rgb"]
        for name in ("mean", "std"):
            self.register_buffer(name, torch.tensor(normalization[name]).view(3, 1, 1), False)

    def forward(self, images_BCHW: Tensor) -> tuple[Tensor, ...]:
        """Compute the feature maps of images.

        The range of floating point images is checked in every call; on a GPU, this waits for the
        device. With uint8 there is no such wait.

        Args:
            images_BCHW: RGB images, (B, 3, H, W) or (3, H, W), on the module's device: uint8 in
                [0, 255], or floating point in [0, 1].

        Returns:
            Feature maps (B, D, h, w), one per entry of ``strides``.

        Raises:
            TypeError: if the images are not a tensor.
            ValueError: if the images have another shape, type or range, or a ViT's patches do not
                divide their height and width.
        """
        if not isinstance(images_BCHW, Tensor):
            raise TypeError(
                f"images are a {type(images_BCHW).__name__}, not a tensor (B, 3, H, W): use "
                "torch.from_numpy(image).permute(2, 0, 1) for an array (H, W, 3), and torch.stack "
                "for a list of tensors"
            )
        argument = images_BCHW
        if images_BCHW.ndim == 3:
            images_BCHW = images_BCHW[None]
        if images_BCHW.ndim != 4 or images_BCHW.shape[1] != 3:
            order = {3: "2, 0, 1", 4: "0, 3, 1, 2"}.get(argument.ndim)
            last = argument.ndim in (3, 4) and argument.shape[-1] == 3
            raise ValueError(
                f"images have shape {tuple(argument.shape)}; expected (B, 3, H, W) in RGB"
                + (f": the channels come last, use permute({order})" if last else "")
            )
        if images_BCHW.dtype == torch.uint8:
            images = images_BCHW.to(self.mean.dtype)
        elif images_BCHW.is_floating_point():
            low, high = images_BCHW.aminmax() if images_BCHW.numel() else (0.0, 1.0)
            if not (low >= 0 and high <= 1):
                raise ValueError(
                    f"floating point images must be in [0, 1], and these are in [{float(low):.4g}, "
                    f"{float(high):.4g}]: give uint8, or divide by 255; the module normalises by "
                    "itself"
                )
            images = images_BCHW.to(self.mean.dtype) * 255
        else:
            raise ValueError(
                f"images are {images_BCHW.dtype}; expected uint8 (0 to 255) or floating point"
            )
        if self.flip_channels:
            images = images.flip(1)
        return tuple(self.backbone((images - self.mean) / self.std))


def load_backbone(path: str | Path, *, tolerance: float = 1e-3) -> PretrainedBackbone:
    """Load an exported backbone, in evaluation mode on the CPU.

    Loading is strict, and the features of a fixed image are compared with those recorded when the
    backbone was exported.

    Args:
        path: ``.safetensors`` or ``.pth`` file written by ``export_backbone``.
        tolerance: largest difference of features, as a fraction of their root mean square.

    Returns:
        A module that normalises images itself.

    Raises:
        FileNotFoundError: if there is no such file.
        CheckpointError: if it is damaged, was not written by ``export_backbone``, does not fit its
            own architecture, or has other features.
        ConfigError: if its architecture cannot be built.

    Example:
        >>> backbone = drivemim.load_backbone("vit_base.safetensors")
        >>> image = cv2.imread("frame.jpg")[..., ::-1].copy()  # OpenCV reads BGR
        >>> maps = backbone(torch.from_numpy(image).permute(2, 0, 1))
    """
    state, metadata = read_export(path)
    architecture = metadata["architecture"]
    scope = "drivemim" if architecture["type"].startswith("drivemim.") else "mmdet"
    backbone: nn.Module = build_model(Config({"model": architecture}), path, scope)
    if mismatch := describe_mismatch(backbone.state_dict(), state):
        raise CheckpointError(
            f"{path}: its tensors do not fit the {type(backbone).__name__} that its own metadata "
            "describes, so the file was changed after it was written; export the backbone again. "
            f"Tensors: {mismatch}"
        )
    check_weights(path, state, backbone.state_dict())
    backbone.load_state_dict(state)
    module = PretrainedBackbone(backbone, metadata)
    module.eval()
    height, width = metadata["input_size"]
    image_CHW = fixed_image((height, width)).flip(-1).permute(2, 0, 1)
    with torch.no_grad(), getattr(backbone, "full_attention", nullcontext)():
        maps = module(image_CHW)
    recorded = metadata["fingerprint"]
    if lines := compare_features(recorded, maps, level_numbers(backbone, maps), tolerance):
        raise CheckpointError(
            f"{path}: features are not those recorded at export: {'; '.join(lines)}"
        )
    return module
