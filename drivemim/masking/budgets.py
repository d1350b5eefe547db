"""How many cells each frame of a clip hides, where frames differ in that."""

from torch import Tensor

from drivemim.masking.base import MaskContext, MaskStrategy


def spread(total_B: Tensor, among_BTN: Tensor, draws_BTN: Tensor) -> Tensor:
    """Spread a number of cells evenly over some of a clip's frames.

    Where it does not divide, the frames with the highest draws get one cell more.

    Args:
        total_B: int64, cells of each clip.
        among_BTN: bool, the frames that share them; where a clip has none, none are spread.
        draws_BTN: float in [0, 1), drawn for each frame.

    Returns:
        int64 [B, T, N], 0 in the other frames; a clip's sum is its total.
    """
    frames_B = among_BTN.sum(dim=(1, 2)).clamp(min=1)
    each_B = total_B.div(frames_B, rounding_mode="floor")
    more_B1 = (total_B - each_B * frames_B)[:, None]
    order_BF = draws_BTN.masked_fill(~among_BTN, -1).flatten(1).argsort(dim=-1, descending=True)
    budgets_BTN = each_B[:, None, None] + (order_BF.argsort(dim=-1) < more_B1).view_as(draws_BTN)
    return budgets_BTN * among_BTN


def even_scores(part: MaskStrategy, context: MaskContext, whole: MaskStrategy) -> Tensor:
    """Let a part of a strategy rank cells, but not decide how many of them a frame hides.

    Args:
        part: the strategy that ranks.
        context: what it ranks.
        whole: the strategy that it is a part of, for the message.

    Returns:
        scores_BTNhw: float32, the highest of a frame are hidden first.

    Raises:
        ValueError: if the part decides how much each frame hides.
    """
    ranking = part.rank(context)
    if ranking.budgets_BTN is not None:
        names = type(part).__name__, type(whole).__name__
        raise ValueError(
            "{0} inside {1} decides how many cells each frame hides, which {1} does not leave to "
            "its parts; give it a strategy that only ranks cells".format(*names)
        )
    return ranking.scores_BTNhw
