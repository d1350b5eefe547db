"""Mask strategies, which choose the patches that are hidden from the encoder. True = hidden."""

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
from drivemim.masking.camera_dropout import CameraDropoutMask
from drivemim.masking.causal import CausalMask
from drivemim.masking.cells import cell_owners
from drivemim.masking.grid import GridMask
from drivemim.masking.guided import GuidedMask
from drivemim.masking.large_cells import LargeCellMask
from drivemim.masking.mixture import MixtureMask
from drivemim.masking.motion import MotionMask, ego_compensated_change
from drivemim.masking.multi_block import MultiBlockMask
from drivemim.masking.object import ObjectMask
from drivemim.masking.random import RandomMask
from drivemim.masking.stack import StackMask
from drivemim.masking.tube import TubeMask
from drivemim.masking.world import WorldMask

__all__ = [
    "BlockMask",
    "CameraDropoutMask",
    "CausalMask",
    "Generators",
    "GridMask",
    "GuidedMask",
    "LargeCellMask",
    "MaskContext",
    "MaskStrategy",
    "MixtureMask",
    "MotionMask",
    "MultiBlockMask",
    "ObjectMask",
    "RandomMask",
    "Ranking",
    "StackMask",
    "TubeMask",
    "WorldMask",
    "build_mask",
    "cell_owners",
    "ego_compensated_change",
    "clip_generators",
    "hidden_cells",
    "hide_top",
    "uniform",
]
