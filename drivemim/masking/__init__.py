"""Mask strategies: which cells of a clip the encoder does not see. True = hidden."""

from drivemim.masking.base import (
    Generators,
    MaskContext,
    MaskStrategy,
    Ranking,
    build_mask,
    clip_generators,
    hidden_cells,
    hide_top,
    uniform,
)
from drivemim.masking.block import BlockMask
from drivemim.masking.cells import cell_owners
from drivemim.masking.object import ObjectMask
from drivemim.masking.random import RandomMask
from drivemim.masking.tube import TubeMask

__all__ = [
    "BlockMask",
    "Generators",
    "MaskContext",
    "MaskStrategy",
    "ObjectMask",
    "RandomMask",
    "Ranking",
    "TubeMask",
    "build_mask",
    "cell_owners",
    "clip_generators",
    "hidden_cells",
    "hide_top",
    "uniform",
]
