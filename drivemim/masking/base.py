"""What every mask strategy is: a ranking of the cells of each frame, of which the top is hidden.

A ranking makes the budget exact whatever a strategy prefers, and lets one strategy rank what
another leaves undecided.
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence

import torch
from torch import Tensor

from drivemim.clips import Clips

Generators = torch.Generator | Sequence[torch.Generator]


class MaskStrategy(ABC):
    """Chooses the cells of every frame that the encoder does not see.

    Args:
        ratio: share of every frame's cells that is hidden, in [0, 1]. May be changed later on.

    Raises:
        ValueError: if ``ratio`` is outside [0, 1].
    """

    def __init__(self, *, ratio: float = 0.75) -> None:
        check_share("ratio", ratio)
        self.ratio = ratio

    def __call__(self, clips: Clips, grid: tuple[int, int], generators: Generators) -> Tensor:
        """Mask a batch of clips.

        Args:
            clips: what is masked; only its geometry and boxes are read, never its pixels.
            grid: cells down and across (h, w).
            generators: source of randomness; same state, same mask. With one generator a clip,
                a clip's mask does not depend on the batch that it is in.

        Returns:
            mask_BTNhw: bool on the clips' device, True = hidden. Every frame, valid or not, has
            exactly ``hidden_cells(self.ratio, grid)`` hidden cells.
        """
        return hide_top(self.scores(clips, grid, generators), hidden_cells(self.ratio, grid))

    @abstractmethod
    def scores(self, clips: Clips, grid: tuple[int, int], generators: Generators) -> Tensor:
        """Rank the cells: float32 scores_BTNhw, the highest of a frame are hidden first."""


def hidden_cells(ratio: float, grid: tuple[int, int]) -> int:
    """Budget of a frame: how many of its cells are hidden."""
    h, w = grid
    return round(ratio * h * w)


def hide_top(scores_BTNhw: Tensor, count: int) -> Tensor:
    """Hide the ``count`` cells of each frame that have the highest scores."""
    scores_BTNL = scores_BTNhw.flatten(-2)
    top_BTNc = scores_BTNL.topk(count, dim=-1, sorted=False).indices
    mask_BTNL = torch.zeros(scores_BTNL.shape, dtype=torch.bool, device=scores_BTNL.device)
    return mask_BTNL.scatter_(-1, top_BTNc, True).reshape(scores_BTNhw.shape)


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


def check_share(name: str, value: float) -> None:
    """Raise ``ValueError`` unless ``value`` is in [0, 1]."""
    if not 0 <= value <= 1:
        raise ValueError(f"{name}={value} must be in [0, 1]")
