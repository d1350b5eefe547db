"""MMDetection's own ResNet on masked images.

Hidden patches are zero at the input and are set to zero again after every layer that could spread
values into them. So no hidden value reaches a visible position, and all layers have the same mask.
Batch statistics use only the visible positions (SparK, https://arxiv.org/abs/2301.03580). The
wrapped backbone is run layer by layer and is not modified: its parameters keep MMDetection's names.

Letters: P all positions of a map or numbers of a patch, R visible positions.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from math import prod
from typing import Any

import torch
from mmengine.dist import get_world_size
from mmengine.model import BaseModule
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 - the name all of PyTorch's users know
from torch.utils.checkpoint import checkpoint

from drivemim.clips import patch_grid
from drivemim.compat import BatchNorm
from drivemim.models.encoders.masked_encoder import MaskedFeatures, Stage
from drivemim.models.layers import KeepStatistics
from drivemim.models.patches import PatchMask, gather_patches, patchify
from drivemim.registry import MODELS

# The first convolution and the pooling of every ResNet have stride 2 each.
_STEM_STRIDE = 4


@MODELS.register_module()
class MaskedResNet(BaseModule):
    """Encoder around an MMDetection ResNet.

    A patch's feature is a sum over the stages of ``fuse_stages``. Each term is a linear layer on
    the part of the stage's map that the patch covers, with all its positions concatenated. These
    layers are not part of the backbone and are discarded with the decoder.

    Args:
        backbone: config of an ``mmdet.ResNet`` (or ResNetV1d, ResNeXt) with batch normalisation.
            To train it from random initialisation, set ``norm_eval=False`` and
            ``frozen_stages=-1``; the backbone's own settings are respected.
        patch_channels: D, channels of a visible patch's feature.
        fuse_stages: stages (0 to 3) whose maps form the feature.
        init_cfg: see MMEngine.

    Raises:
        ValueError: if the backbone has layers that cannot be run with a mask.
    """

    def __init__(
        self,
        *,
        backbone: dict[str, Any],
        patch_channels: int = 512,
        fuse_stages: Sequence[int] = (1, 2, 3),
        init_cfg: dict[str, Any] | None = None,
    ) -> None:
        super().__init__(init_cfg)
        self.backbone = MODELS.build(backbone)
        _check(self.backbone, fuse_stages)
        self.patch_channels = patch_channels
        self.fuse_stages = tuple(sorted(fuse_stages))
        strides = self.backbone.strides
        # A patch is one position of the last stage's map.
        self.mask_patch_size = _STEM_STRIDE * prod(strides)
        self.fusers = nn.ModuleDict()
        stages = []
        for stage in self.fuse_stages:
            side = self.mask_patch_size // (_STEM_STRIDE * prod(strides[: stage + 1]))
            last_block = getattr(self.backbone, self.backbone.res_layers[stage])[-1]
            channels = last_block.conv2.out_channels
            if hasattr(last_block, "conv3"):
                channels = last_block.conv3.out_channels
            self.fusers[f"stage{stage}"] = nn.Linear(channels * side**2, patch_channels)
            stages.append(Stage(channels=channels, positions_per_patch=side))
        self.stages = tuple(stages)
        self.norm = nn.LayerNorm(patch_channels, eps=1e-6)

    def forward(self, images_BCHW: Tensor) -> tuple[Tensor, ...]:
        """Return the maps of the plain backbone, at its own ``out_indices``."""
        maps: tuple[Tensor, ...] = self.backbone(images_BCHW)
        return maps

    def forward_masked(self, images_XCHW: Tensor, mask: PatchMask) -> MaskedFeatures:
        """Encode images with the hidden patches set to zero.

        Args:
            images_XCHW: float, normalised.
            mask: mask of these images.

        Returns:
            Tokens, and the maps of the stages of ``fuse_stages``.
        """
        grid = patch_grid((images_XCHW.shape[2], images_XCHW.shape[3]), self.mask_patch_size)
        assert (len(images_XCHW), grid) == (len(mask.mask_Xhw), mask.grid), (grid, mask.grid)
        every_map = self.masked_maps(images_XCHW, mask.mask_Xhw, counts=any(mask.valid))
        maps = tuple(every_map[stage] for stage in self.fuse_stages)
        fused: Tensor | None = None
        for number, shape, map_XCHW in zip(self.fuse_stages, self.stages, maps, strict=True):
            patches_XKP = gather_patches(
                patchify(map_XCHW, shape.positions_per_patch), mask.visible
            )
            part: Tensor = self.fusers[f"stage{number}"](patches_XKP)
            fused = part if fused is None else fused + part
        return MaskedFeatures(tokens_XKD=self.norm(fused), maps_XCHW=maps)

    def masked_maps(
        self, images_BCHW: Tensor, mask_Bhw: Tensor, *, counts: bool = True
    ) -> list[Tensor]:
        """Compute maps (B, C, H, W) of every stage, zero at hidden positions.

        Args:
            images_BCHW: float, normalised.
            mask_Bhw: bool, True = hidden.
            counts: whether these images enter batch statistics.
        """
        net, mask = self.backbone, SparseMask(mask_Bhw, counts=counts)
        # Visible positions are selected as rows of channels, which are contiguous in this layout.
        x = mask.zero_masked(images_BCHW).contiguous(memory_format=torch.channels_last)
        if net.deep_stem:
            x = _run_sequence(net.stem, x, mask)
        else:
            x = F.relu(mask.normalize(net.norm1, net.conv1(x)))
        # Values are not negative here, so a hidden position's zero never exceeds a visible value.
        x = mask.zero_masked(net.maxpool(x))
        maps = []
        for name in net.res_layers:
            for block in getattr(net, name):
                if block.with_cp and self.training and x.requires_grad:
                    contexts = partial(_recomputing, block)
                    x = checkpoint(
                        _run_block, block, x, mask, use_reentrant=False, context_fn=contexts
                    )
                else:
                    x = _run_block(block, x, mask)
            maps.append(x)
        return maps


class SparseMask:
    """The mask at the resolution of the map that it is applied to.

    Args:
        mask_Bhw: bool, True = hidden.
        counts: whether batch statistics are computed from the visible positions. Otherwise the
            running averages are used and do not change.
    """

    def __init__(self, mask_Bhw: Tensor, *, counts: bool = True) -> None:
        self.mask_Bhw = mask_Bhw
        self.counts = counts
        self._hidden: dict[torch.Size, Tensor] = {}
        self._visible_index: dict[torch.Size, Tensor] = {}

    def hidden(self, x_BCHW: Tensor) -> Tensor:
        """Return the mask at the size of a map: bool (B, H, W), True = hidden."""
        size = x_BCHW.shape[2:]
        if size not in self._hidden:
            rows, columns = (
                side // count for side, count in zip(size, self.mask_Bhw.shape[1:], strict=True)
            )
            tall = self.mask_Bhw.repeat_interleave(rows, dim=1)
            self._hidden[size] = tall.repeat_interleave(columns, dim=2)
        return self._hidden[size]

    def visible_index(self, x_BCHW: Tensor) -> Tensor:
        """Return the visible positions of a map, as flat indices into (B, H, W): int64 (R,)."""
        size = x_BCHW.shape[2:]
        if size not in self._visible_index:
            visible_BHW = ~self.hidden(x_BCHW)
            self._visible_index[size] = visible_BHW.flatten().nonzero()[:, 0]
        return self._visible_index[size]

    def zero_masked(self, x_BCHW: Tensor) -> Tensor:
        """Set the hidden positions to zero, even those with NaN."""
        return x_BCHW.masked_fill(self.hidden(x_BCHW)[:, None], 0.0)

    def normalize(self, norm: BatchNorm, x_BCHW: Tensor) -> Tensor:
        """Apply batch normalisation to the visible positions; hidden ones become zero.

        In training, the layer itself is called on the visible positions only, so it computes its
        own statistics, running averages and synchronisation.
        """
        if not norm.training:
            return self.zero_masked(norm(x_BCHW))
        visible_R = self.visible_index(x_BCHW)
        x_BHWC = x_BCHW.permute(0, 2, 3, 1)
        rows_RC = x_BHWC.flatten(0, 2).index_select(0, visible_R)
        is_shared = _is_shared(norm)
        if not self.counts or (len(rows_RC) < 2 and not is_shared):
            # A single value has no variance: fall back to the running averages.
            out_BCHW = F.batch_norm(
                x_BCHW, norm.running_mean, norm.running_var, norm.weight, norm.bias, eps=norm.eps
            )
            if is_shared:  # The other processes wait for this one's part; it is empty.
                with KeepStatistics(norm):
                    out_BCHW = out_BCHW + norm(rows_RC[:0].t()[None, :, :, None]).sum()
            return self.zero_masked(out_BCHW)
        normalized_RC: Tensor = norm(rows_RC.t()[None, :, :, None])[0, :, :, 0].t()
        zeros_PC = normalized_RC.new_zeros(x_BHWC.shape[:3].numel(), x_BHWC.shape[3])
        out_PC = zeros_PC.index_copy(0, visible_R, normalized_RC)
        return out_PC.reshape(x_BHWC.shape).permute(0, 3, 1, 2)


def _is_shared(norm: BatchNorm) -> bool:
    """Return whether a layer shares its batch statistics between several processes."""
    return isinstance(norm, nn.SyncBatchNorm) and get_world_size(norm.process_group) > 1


def _recomputing(
    block: nn.Module,
) -> tuple[AbstractContextManager[None], AbstractContextManager[None]]:
    """Return the contexts of a checkpointed block's forward pass and of its recomputation.

    The recomputation must not update running statistics again; the forward pass has done so.
    """
    return nullcontext(), KeepStatistics(block)


def _run_block(block: Any, x: Tensor, mask: SparseMask) -> Tensor:
    """Run a BasicBlock or Bottleneck with a mask."""
    depth = 3 if hasattr(block, "conv3") else 2
    out = x
    for layer in range(1, depth + 1):
        convolved = getattr(block, f"conv{layer}")(out)
        out = mask.normalize(getattr(block, f"norm{layer}"), convolved)
        if layer < depth:
            out = F.relu(out)
    shortcut = x if block.downsample is None else _run_sequence(block.downsample, x, mask)
    return F.relu(out + shortcut)


def _run_sequence(layers: nn.Sequential, x: Tensor, mask: SparseMask) -> Tensor:
    """Run a sequence of convolutions, pools, norms and activations with a mask."""
    for layer in layers:
        x = mask.normalize(layer, x) if isinstance(layer, BatchNorm) else mask.zero_masked(layer(x))
    return x


def _check(backbone: nn.Module, fuse_stages: Sequence[int]) -> None:
    """Reject backbones in which hidden pixels would influence visible positions.

    Raises:
        ValueError: if a part of the backbone is not supported, or ``fuse_stages`` names no stage;
            the message names the wrong value and the possible ones.
    """
    name = type(backbone).__name__
    plain = {"mmdet.models.backbones.resnet.BasicBlock", "mmdet.models.backbones.resnet.Bottleneck"}
    stages = getattr(backbone, "res_layers", None)
    if stages is None:
        raise ValueError(f"MaskedResNet cannot wrap {name}; give type='mmdet.ResNet'")
    for block in (block for stage in stages for block in getattr(backbone, stage)):
        forward = type(block).forward
        kind = f"{forward.__module__}.{forward.__qualname__.removesuffix('.forward')}"
        if kind not in plain or getattr(block, "with_plugins", False):
            raise ValueError(
                f"{name} has blocks of type {type(block).__name__}, with plugins or a forward of "
                "their own, that cannot be run with a mask; use plain BasicBlock or Bottleneck"
            )
        if getattr(block, "with_dcn", False):
            raise ValueError(
                f"{name}: deformable convolutions would read hidden positions; set dcn=None"
            )
    for path, layer in backbone.named_modules():
        # Any other layer with its own weights or statistics, such as MMCV's MMSyncBN, would use
        # hidden positions too.
        own = [*layer.parameters(recurse=False), *layer.buffers(recurse=False)]
        is_other = own and not isinstance(layer, nn.Conv2d | BatchNorm)
        if is_other or isinstance(layer, nn.InstanceNorm1d | nn.InstanceNorm2d | nn.InstanceNorm3d):
            raise ValueError(
                f"{name}.{path} is {type(layer).__name__}; masks need batch normalisation: "
                "set norm_cfg=dict(type='BN') or dict(type='SyncBN')"
            )
    if not fuse_stages or any(not 0 <= stage < len(stages) for stage in fuse_stages):
        raise ValueError(
            f"fuse_stages {tuple(fuse_stages)} must name stages of {name}: 0 to {len(stages) - 1}"
        )
