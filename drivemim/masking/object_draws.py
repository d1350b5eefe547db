"""What is drawn for the objects of a clip, alike for a track wherever and whenever it is seen."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from drivemim.masking.base import MaskContext

# Odd numbers that keep apart what is added up into one key.
_MIXERS = (0x9E3779B1, 0x85EBCA77, 0xC2B2AE3D, 0x27D4EB2F)
_TIME_MIXER, _CAMERA_MIXER = 0x165667B1, 0x2545F491


@dataclass(frozen=True)
class ObjectDraws:
    """What was drawn for each object of each frame.

    Attributes:
        present_BTNM: bool, False for padding.
        hidden_BTNM: bool, present, and of a track that is hidden throughout the clip.
        peeked_BTNM: bool, at a time at which its track is left to see, should it be hidden.
        priority_BTNM: float32 in [0, 1), the order of tracks, alike in every frame.
        anchors_BTNM2: float32 (x, y) in [0, 1], the place in the box around which it stays visible.
    """

    present_BTNM: Tensor
    hidden_BTNM: Tensor
    peeked_BTNM: Tensor
    priority_BTNM: Tensor
    anchors_BTNM2: Tensor


def draw_objects(context: MaskContext, track_hidden: float, peek: int) -> ObjectDraws:
    """Draw for every track of a clip.

    Args:
        context: the clips and their randomness.
        track_hidden: probability that a track is hidden throughout, in [0, 1].
        peek: at how many of the clip's times a track is left to see, drawn for each track.
    """
    clips = context.clips
    salts_B5 = context.per_clip(5)
    chance_salt, priority_salt, x_salt, y_salt, peek_salt = (
        salt_B[:, None, None, None] for salt_B in salts_B5.unbind(-1)
    )
    present_BTNM = (clips.labels_BTNM >= 0) & clips.valid_BTN[..., None]
    keys_BTNM = object_keys(context)
    hidden_BTNM = present_BTNM & (hashed_uniform(keys_BTNM, chance_salt) < track_hidden)
    anchors = [hashed_uniform(keys_BTNM, salt) for salt in (x_salt, y_salt)]
    return ObjectDraws(
        present_BTNM,
        hidden_BTNM,
        _peeked(keys_BTNM, peek_salt, peek),
        hashed_uniform(keys_BTNM, priority_salt),
        torch.stack(anchors, dim=-1),
    )


def object_keys(context: MaskContext) -> Tensor:
    """Number that stands for each object: its track's, or one of its own if it has no track.

    A box without a track is told apart by its corners, its time and its camera's calibration, so
    that the order of the cameras and of the boxes does not matter.

    Returns:
        int64 (B, T, N, M).
    """
    clips = context.clips
    corners_BTNM4 = clips.boxes_BTNM4.float().contiguous().view(torch.int32).long()
    mixers_4 = torch.tensor(_MIXERS, device=context.device) >> 4
    times_T11 = torch.arange(clips.shape[1], device=context.device)[:, None, None] * _TIME_MIXER
    cameras_B1N1 = context.camera_rank[:, None, :, None] * _CAMERA_MIXER
    single_BTNM = (corners_BTNM4 * mixers_4).sum(dim=-1) + times_T11 + cameras_B1N1
    return torch.where(clips.tracks_BTNM >= 0, clips.tracks_BTNM, single_BTNM)


def hashed_uniform(keys: Tensor, salts: Tensor) -> Tensor:
    """Numbers in [0, 1) that depend on nothing but a key and a salt.

    Args:
        keys: int64, any shape.
        salts: float in [0, 1), broadcast against ``keys``.

    Returns:
        float32, shape of ``keys``.
    """
    low = 0xFFFFFFFF
    bits = (keys ^ (keys >> 32)) & low
    bits = _scramble(bits ^ (salts.double() * 2**32).long())
    # The top 24 bits are what float32 holds exactly.
    return (_scramble(bits ^ 0x5BD1E995) >> 8).float() / 2**24


def _scramble(bits: Tensor) -> Tensor:
    """Mix 32 bits; the multipliers are odd and below 2**31, so that int64 does not overflow."""
    for multiplier in (0x2C1B3C6D, 0x297A2D39):
        bits = (bits ^ (bits >> 16)) * multiplier & 0xFFFFFFFF
    return bits ^ (bits >> 15)


def _peeked(keys_BTNM: Tensor, salts_B111: Tensor, peek: int) -> Tensor:
    """Whether each object's time is among those drawn for its track."""
    if peek == 0:
        return torch.zeros_like(keys_BTNM, dtype=torch.bool)
    T = keys_BTNM.shape[1]
    times_T = torch.arange(T, device=keys_BTNM.device)
    # Every object ranks all times of the clip, all objects of a track in the same way.
    moments_BTNMT = keys_BTNM[..., None] + (1 + times_T) * _TIME_MIXER
    draws_BTNMT = hashed_uniform(moments_BTNMT, salts_B111[..., None])
    own_BTNM1 = draws_BTNMT.diagonal(dim1=1, dim2=4).movedim(-1, 1)[..., None]
    return (draws_BTNMT > own_BTNM1).sum(dim=-1) < peek
