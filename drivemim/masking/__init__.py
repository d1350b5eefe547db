"""Mask strategies, which choose the patches that are hidden from the encoder. True = hidden."""

from drivemim.masking.block import BlockMask
from drivemim.masking.box_cover import patch_owners
from drivemim.masking.camera_dropout import CameraDropoutMask
from drivemim.masking.causal import CausalMask
from drivemim.masking.coarse_patch import CoarsePatchMask
from drivemim.masking.grid import GridMask
from drivemim.masking.guided import GuidedMask
from drivemim.masking.mixture import MixtureMask
from drivemim.masking.motion import MotionMask, ego_compensated_change
from drivemim.masking.multi_block import MultiBlockMask
from drivemim.masking.object import ObjectMask
from drivemim.masking.random import RandomMask
from drivemim.masking.stack import StackMask
from drivemim.masking.strategy import (
    Generators,
    MaskContext,
    MaskScores,
    MaskStrategy,
    build_mask,
    clip_generators,
    num_masked_patches,
    topk_mask,
    uniform,
)
from drivemim.masking.tube import TubeMask
from drivemim.masking.world_mask import WorldMask

__all__ = [
    "BlockMask",
    "CameraDropoutMask",
    "CausalMask",
    "Generators",
    "GridMask",
    "GuidedMask",
    "CoarsePatchMask",
    "MaskContext",
    "MaskStrategy",
    "MixtureMask",
    "MotionMask",
    "MultiBlockMask",
    "ObjectMask",
    "RandomMask",
    "MaskScores",
    "StackMask",
    "TubeMask",
    "WorldMask",
    "build_mask",
    "patch_owners",
    "ego_compensated_change",
    "clip_generators",
    "num_masked_patches",
    "topk_mask",
    "uniform",
]
