"""What every mask strategy is: a ranking of the cells of each frame, of which the top is hidden.

A ranking makes the budget exact whatever a strategy prefers, and lets one strategy rank what
another leaves undecided.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar

import torch
from torch import Tensor

from drivemim.clips import Clips
from drivemim.registry import MASKS

Generators = torch.Generator | Sequence[torch.Generator]

READABLE = ("boxes", "tracks", "lidar")
"""What a clip can have beside images and calibration."""


@dataclass(frozen=True, kw_only=True)
class MaskContext:
    """What a strategy looks at, and its source of randomness.

    Draws belong to a camera by its calibration and not by its place in the list, so a mask is the
    same in whatever order the cameras come.

    Attributes:
        clips: what is masked.
        grid: cells down and across (h, w).
        ratio: share of the cells that is hidden, that of the outermost strategy.
        generators: one for the batch or one a clip.
        guide_BTNhw: float, what a guided strategy follows (a loss, an attention); None without.
    """

    clips: Clips
    grid: tuple[int, int]
    ratio: float
    generators: Generators
    guide_BTNhw: Tensor | None = None

    @property
    def device(self) -> torch.device:
        """Where the clips are, and the mask will be."""
        return self.clips.valid_BTN.device

    @property
    def budget(self) -> int:
        """How many cells of a frame are hidden."""
        return hidden_cells(self.ratio, self.grid)

    def per_frame(self, *extra: int) -> Tensor:
        """Uniform float32 numbers in [0, 1): (B, T, N, *extra)."""
        drawn = uniform((*self.clips.shape, *extra), self.generators, self.device)
        return self._by_camera(drawn)

    def per_camera(self, *extra: int) -> Tensor:
        """Uniform float32 numbers in [0, 1), alike at all times: (B, 1, N, *extra)."""
        B, _, N = self.clips.shape
        return self._by_camera(uniform((B, 1, N, *extra), self.generators, self.device))

    def per_clip(self, *extra: int) -> Tensor:
        """Uniform float32 numbers in [0, 1): (B, *extra)."""
        return uniform((len(self.clips), *extra), self.generators, self.device)

    @cached_property
    def camera_rank(self) -> Tensor:
        """Place of each camera in an order that its calibration alone decides: int64 (B, N)."""
        return _camera_rank(self.clips)

    def _by_camera(self, drawn_BTN: Tensor) -> Tensor:
        if self.clips.shape[2] == 1:
            return drawn_BTN
        rank = self.camera_rank[(slice(None), None, slice(None), *[None] * (drawn_BTN.ndim - 3))]
        return drawn_BTN.gather(2, rank.expand_as(drawn_BTN))


@dataclass(frozen=True, kw_only=True)
class Ranking:
    """What a strategy says of a batch of clips.

    Attributes:
        scores_BTNhw: float32, the highest of a frame are hidden first.
        budgets_BTN: int64, how many cells of each frame are hidden, a clip's summing to
            ``MaskContext.budget`` times its frames; None for ``MaskContext.budget`` in each.
    """

    scores_BTNhw: Tensor
    budgets_BTN: Tensor | None = None


class MaskStrategy(ABC):
    """Chooses the cells of every frame that the encoder does not see.

    Args:
        ratio: share of every frame's cells that is hidden, in [0, 1]. May be changed later on.

    Attributes:
        reads: which of ``READABLE`` the class itself looks at, not the strategies inside it. An
            exported backbone records it. A class that does not say is taken to read everything.

    Raises:
        ValueError: if ``ratio`` is outside [0, 1].
    """

    reads: ClassVar[frozenset[str]] = frozenset(READABLE)

    def __init__(self, *, ratio: float = 0.75) -> None:
        check_share("ratio", ratio)
        self.ratio = ratio

    def __call__(
        self,
        clips: Clips,
        grid: tuple[int, int],
        generators: Generators,
        guide_BTNhw: Tensor | None = None,
    ) -> Tensor:
        """Mask a batch of clips.

        Args:
            clips: what is masked.
            grid: cells down and across (h, w).
            generators: source of randomness; same state, same mask. With one generator a clip,
                a clip's mask does not depend on the batch that it is in.
            guide_BTNhw: float, for guided strategies: the higher, the sooner a cell is hidden.

        Returns:
            mask_BTNhw: bool on the clips' device, True = hidden. Every frame, valid or not, has
            exactly ``hidden_cells(self.ratio, grid)`` hidden cells; with a strategy that hides
            more of some frames than of others, every clip has as many as if it did not.
        """
        context = MaskContext(
            clips=clips,
            grid=grid,
            ratio=self.ratio,
            generators=generators,
            guide_BTNhw=guide_BTNhw,
        )
        ranking = self.rank(context)
        budgets = context.budget if ranking.budgets_BTN is None else ranking.budgets_BTN
        return hide_top(ranking.scores_BTNhw, budgets)

    @abstractmethod
    def rank(self, context: MaskContext) -> Ranking:
        """Say which cells of each frame to hide first, and how many if frames differ in that."""


def build_mask(strategy: MaskStrategy | Mapping[str, Any]) -> MaskStrategy:
    """A strategy as it is, or built from its config."""
    if isinstance(strategy, MaskStrategy):
        return strategy
    built: MaskStrategy = MASKS.build(dict(strategy))
    return built


def build_rest(strategy: MaskStrategy | Mapping[str, Any] | None) -> MaskStrategy:
    """The strategy that ranks what another leaves undecided: ``RandomMask`` for None."""
    return build_mask({"type": "RandomMask"} if strategy is None else strategy)


def hidden_cells(ratio: float, grid: tuple[int, int]) -> int:
    """Budget of a frame: how many of its cells are hidden."""
    h, w = grid
    return round(ratio * h * w)


def hide_top(scores_BTNhw: Tensor, count: int | Tensor) -> Tensor:
    """Hide the cells of each frame that have the highest scores.

    Args:
        scores_BTNhw: float.
        count: how many, the same in every frame or int64 count_BTN.
    """
    scores_BTNL = scores_BTNhw.flatten(-2)
    mask_BTNL = torch.zeros(scores_BTNL.shape, dtype=torch.bool, device=scores_BTNL.device)
    if isinstance(count, int):
        chosen_BTNK = scores_BTNL.topk(count, dim=-1, sorted=False).indices
        return mask_BTNL.scatter_(-1, chosen_BTNK, True).reshape(scores_BTNhw.shape)
    order_BTNL = scores_BTNL.argsort(dim=-1, descending=True)
    places = torch.arange(order_BTNL.shape[-1], device=scores_BTNL.device)
    top_BTNL = places < count[..., None]
    return mask_BTNL.scatter_(-1, order_BTNL, top_BTNL).reshape(scores_BTNhw.shape)


def uniform(shape: tuple[int, ...], generators: Generators, device: torch.device | str) -> Tensor:
    """Draw float32 numbers in [0, 1), from one generator or from one a clip.

    Args:
        shape: of the result; the first axis is the batch of clips.
        generators: one for the batch, or as many as there are clips.
        device: where the result is wanted; numbers are drawn where the generators are.

    Raises:
        ValueError: if there is neither one generator nor one a clip.
    """
    if isinstance(generators, torch.Generator):
        drawn = torch.rand(shape, generator=generators, device=generators.device)
        return drawn.to(device)
    if len(generators) != shape[0]:
        raise ValueError(
            f"{len(generators)} generators for {shape[0]} clips; give one in all or one a clip"
        )
    if not generators:
        return torch.zeros(shape, device=device)
    each = [torch.rand(shape[1:], generator=one, device=one.device) for one in generators]
    return torch.stack(each).to(device)


def clip_generators(clips: Clips) -> list[torch.Generator]:
    """One generator a clip, seeded with the clip's own seed."""
    return [torch.Generator().manual_seed(seed) for seed in clips.seeds_B.tolist()]


def share_of_budget(share: float, context: MaskContext, ranking: Ranking) -> int | Tensor:
    """How many cells of each frame a share of the budget is: one number, or int64 (B, T, N).

    Args:
        share: in [0, 1].
        context: gives the budget of frames that are all alike.
        ranking: gives that of frames that differ.
    """
    if ranking.budgets_BTN is None:
        return round(share * context.budget)
    return (share * ranking.budgets_BTN).round().long()


def gumbel(draws: Tensor) -> Tensor:
    """Uniform draws as Gumbel noise.

    The highest of log(weight) + noise are a draw without replacement, weighted by weight.
    """
    # Less than any draw above 0, so that a draw of 0 has a logarithm too.
    return -(-draws.clamp(min=2.0**-25).log()).log()


def unit_range(scores_BTNhw: Tensor) -> Tensor:
    """Stretch the scores of each frame to [0, 1], keeping their order."""
    low, high = scores_BTNhw.amin((-2, -1), keepdim=True), scores_BTNhw.amax((-2, -1), keepdim=True)
    return (scores_BTNhw - low) / (high - low).clamp(min=1e-12)


def check_share(name: str, value: float) -> None:
    """Raise ``ValueError`` unless ``value`` is in [0, 1]."""
    if not 0 <= value <= 1:
        raise ValueError(f"{name}={value} must be in [0, 1]")


def check_count(name: str, value: int, least: int = 1) -> None:
    """Raise ``ValueError`` unless ``value`` is a whole number, ``least`` or more."""
    if not (isinstance(value, int) and value >= least):
        raise ValueError(f"{name}={value} must be a whole number in [{least}, infinity)")


def _camera_rank(clips: Clips) -> Tensor:
    """Number the cameras of each clip by a mixture of their calibration's numbers; missing last."""
    numbers_BTNC = torch.cat(
        [
            clips.camera_to_clip_BTN44[..., :3, :].flatten(-2),
            clips.intrinsics_BTN33[..., :2, :].flatten(-2) / 1000,
        ],
        dim=-1,
    ).double()
    # Any fixed weights will do that keep different calibrations apart.
    weights_C = torch.arange(1, numbers_BTNC.shape[-1] + 1, device=numbers_BTNC.device).sqrt()
    key_BTN = (numbers_BTNC * weights_C).sum(dim=-1)
    valid_BTN = clips.valid_BTN
    first_B1N = valid_BTN.byte().argmax(dim=1, keepdim=True)
    key_BN = key_BTN.gather(1, first_B1N)[:, 0]
    key_BN = torch.where(valid_BTN.any(dim=1), key_BN, torch.inf)
    return key_BN.argsort(dim=-1, stable=True).argsort(dim=-1)
