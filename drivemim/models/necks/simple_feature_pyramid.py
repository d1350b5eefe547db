"""Feature pyramid from the single map of a plain backbone.

Paper: https://arxiv.org/abs/2203.16527.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any, Literal

from mmengine.model import BaseModule
from torch import Tensor, nn

from drivemim.registry import MODELS


class ChannelLayerNorm(nn.LayerNorm):
    """Layer normalisation over the channels of each position of a map."""

    def forward(self, x_BCHW: Tensor) -> Tensor:
        """Normalise a map; input and output have the same shape."""
        return super().forward(x_BCHW.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)


@MODELS.register_module()
class SimpleFeaturePyramid(BaseModule):
    """Resize one map to several scales, each with its own branch.

    A branch doubles the size and halves the channels with each transposed convolution, or pools.
    Then a 1x1 and a 3x3 convolution set the channels to ``out_channels``.

    Args:
        in_channels: channels of the map.
        out_channels: channels of every level.
        scales: scales of the levels relative to the map, powers of two, finest first. The default
            gives strides 4, 8, 16, 32 for a map of stride 16.
        norm: ``LN`` over the channels of a position, or ``GN`` with 32 groups.
        input_index: index of the backbone's map to use.
        init_cfg: see MMEngine. ``dict(type='Pretrained', checkpoint=..., prefix='decoder.neck.')``
            loads the pyramid of a pretrained ``PyramidDecoder`` from its checkpoint.
    """

    def __init__(
        self,
        *,
        in_channels: int,
        out_channels: int = 256,
        scales: Sequence[float] = (4.0, 2.0, 1.0, 0.5),
        norm: Literal["LN", "GN"] = "LN",
        input_index: int = -1,
        init_cfg: dict[str, Any] | None = None,
    ) -> None:
        super().__init__(init_cfg)
        allowed = (8.0, 4.0, 2.0, 1.0, 0.5, 0.25, 0.125)
        if any(scale not in allowed for scale in scales):
            raise ValueError(f"scales {tuple(scales)} must be among {allowed}")
        if any(finer <= coarser for finer, coarser in pairwise(scales)):
            raise ValueError(f"scales {tuple(scales)} must descend: heads expect the finest first")
        if norm not in ("LN", "GN"):
            raise ValueError(f"norm {norm!r} must be 'LN' or 'GN'")
        if norm == "GN" and out_channels % 32:
            raise ValueError(f"norm 'GN' needs out_channels in multiples of 32, not {out_channels}")
        self.input_index = input_index
        self.norm = norm
        self.levels = nn.ModuleList(
            self._branch(in_channels, out_channels, scale) for scale in scales
        )

    def forward(self, maps: Sequence[Tensor]) -> tuple[Tensor, ...]:
        """Convert the backbone's maps (B, C, h, w) to one map (B, out_channels, H, W) per scale."""
        x_BCHW = maps[self.input_index]
        return tuple(level(x_BCHW) for level in self.levels)

    def _branch(self, channels: int, out_channels: int, scale: float) -> nn.Sequential:
        layers: list[nn.Module] = []
        current = scale
        while current > 1.0:
            if layers:
                layers += [ChannelLayerNorm(channels, eps=1e-6), nn.GELU()]
            layers.append(nn.ConvTranspose2d(channels, channels // 2, 2, stride=2))
            channels, current = channels // 2, current / 2
        if scale < 1.0:
            pool = round(1 / scale)
            # The last row and column of an odd map get their own output, like in MMDetection's FPN.
            layers.append(nn.MaxPool2d(pool, stride=pool, ceil_mode=True))
        layers += [
            nn.Conv2d(channels, out_channels, 1, bias=False),
            self._normalization(out_channels),
            nn.Conv2d(out_channels, out_channels, 3, padding=1, bias=False),
            self._normalization(out_channels),
        ]
        return nn.Sequential(*layers)

    def _normalization(self, channels: int) -> nn.Module:
        if self.norm == "LN":
            return ChannelLayerNorm(channels, eps=1e-6)
        return nn.GroupNorm(32, channels)
