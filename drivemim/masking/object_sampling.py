"""Random draws for the objects of a clip; a track gets the same draw in every frame."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from drivemim.masking.strategy import MaskContext

# Large multipliers with irregular bits, so that different corners, time steps and cameras give
# different sums. The last one is from xorshift*, all others are the primes of xxHash.
_MIXERS = (0x9E3779B1, 0x85EBCA77, 0xC2B2AE3D, 0x27D4EB2F)
_TIME_MIXER, _CAMERA_MIXER = 0x165667B1, 0x2545F491


@dataclass(frozen=True)
class ObjectDraws:
    """Random draws for each object of each frame.

    Attributes:
        present_BTNM: bool, False for padding.
        hidden_BTNM: bool, True if the object is present and its track is drawn to be hidden in all
            frames of the clip.
        peeked_BTNM: bool, True if this is a time step at which the track stays visible even if it
            is drawn to be hidden.
        priority_BTNM: float32 in [0, 1); tracks with lower values are hidden first. The same in
            every frame.
        anchors_BTNM2: float32 (x, y) in [0, 1], from the upper left corner of the box: a hidden
            object keeps the patches around this point visible.
    """

    present_BTNM: Tensor
    hidden_BTNM: Tensor
    peeked_BTNM: Tensor
    priority_BTNM: Tensor
    anchors_BTNM2: Tensor


def draw_objects(
    context: MaskContext, hide_probability: float, num_peek_frames: int
) -> ObjectDraws:
    """Draw the random numbers of every track of a clip.

    Args:
        context: the clips and their source of randomness.
        hide_probability: probability that a track is hidden in all frames, in [0, 1].
        num_peek_frames: number of time steps at which a track stays visible even if it is hidden;
            which ones is drawn for each track.
    """
    clips = context.clips
    salts_B5 = context.draw_per_clip(5)
    chance_salt, priority_salt, x_salt, y_salt, peek_salt = (
        salt_B[:, None, None, None] for salt_B in salts_B5.unbind(-1)
    )
    present_BTNM = (clips.labels_BTNM >= 0) & clips.valid_BTN[..., None]
    keys_BTNM = object_keys(context)
    hidden_BTNM = present_BTNM & (hashed_uniform(keys_BTNM, chance_salt) < hide_probability)
    anchors = [hashed_uniform(keys_BTNM, salt) for salt in (x_salt, y_salt)]
    return ObjectDraws(
        present_BTNM,
        hidden_BTNM,
        _peeked(keys_BTNM, peek_salt, num_peek_frames),
        hashed_uniform(keys_BTNM, priority_salt),
        torch.stack(anchors, dim=-1),
    )


def object_keys(context: MaskContext) -> Tensor:
    """Return the key of each object: its track's number, or a hash if it has no track.

    The hash is made of the box's corners, its time step and the rank of its camera's calibration,
    so it does not depend on the order of the cameras and of the boxes.

    Returns:
        int64 (B, T, N, M).
    """
    clips = context.clips
    corners_BTNM4 = clips.boxes_BTNM4.float().contiguous().view(torch.int32).long()
    # Without the shift, the sum over four corner coordinates could exceed int64.
    mixers_4 = torch.tensor(_MIXERS, device=context.device) >> 4
    times_T11 = torch.arange(clips.shape[1], device=context.device)[:, None, None] * _TIME_MIXER
    cameras_B1N1 = context.camera_rank[:, None, :, None] * _CAMERA_MIXER
    single_BTNM = (corners_BTNM4 * mixers_4).sum(dim=-1) + times_T11 + cameras_B1N1
    return torch.where(clips.tracks_BTNM >= 0, clips.tracks_BTNM, single_BTNM)


def hashed_uniform(keys: Tensor, salts: Tensor) -> Tensor:
    """Compute pseudo-random numbers in [0, 1) that depend only on a key and a salt.

    Args:
        keys: int64, any shape.
        salts: float in [0, 1), broadcast to ``keys``.

    Returns:
        float32, shape of ``keys``.
    """
    low = 0xFFFFFFFF
    bits = (keys ^ (keys >> 32)) & low
    bits = _scramble(bits ^ (salts.double() * 2**32).long())
    # float32 represents 24 bits exactly, so the lowest 8 bits are dropped.
    return (_scramble(bits ^ 0x5BD1E995) >> 8).float() / 2**24


def _scramble(bits: Tensor) -> Tensor:
    """Mix the lowest 32 bits, like the hash functions of Wellons' hash-prospector.

    The multipliers are odd and below 2**31, so that int64 does not overflow.
    """
    for multiplier in (0x2C1B3C6D, 0x297A2D39):
        bits = (bits ^ (bits >> 16)) * multiplier & 0xFFFFFFFF
    return bits ^ (bits >> 15)


def _peeked(keys_BTNM: Tensor, salts_B111: Tensor, num_peek_frames: int) -> Tensor:
    """Return whether each object's time step is among those at which its track stays visible."""
    if num_peek_frames == 0:
        return torch.zeros_like(keys_BTNM, dtype=torch.bool)
    T = keys_BTNM.shape[1]
    times_T = torch.arange(T, device=keys_BTNM.device)
    # An object draws a number for every time step of the clip. All objects of a track draw the same
    # numbers, and the track stays visible at the time steps with the highest ones.
    time_keys_BTNMT = keys_BTNM[..., None] + (1 + times_T) * _TIME_MIXER
    draws_BTNMT = hashed_uniform(time_keys_BTNMT, salts_B111[..., None])
    own_BTNM1 = draws_BTNMT.diagonal(dim1=1, dim2=4).movedim(-1, 1)[..., None]
    return (draws_BTNMT > own_BTNM1).sum(dim=-1) < num_peek_frames
