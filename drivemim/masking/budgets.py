"""Budgets (numbers of hidden patches) that differ between the frames of a clip."""

from torch import Tensor

from drivemim.masking.strategy import MaskContext, MaskStrategy


def split_budget(total_B: Tensor, among_BTN: Tensor, draws_BTN: Tensor) -> Tensor:
    """Split a number of patches evenly between some of a clip's frames.

    If it is not divisible, the frames with the highest draws get one patch more.

    Args:
        total_B: int64, number of patches of each clip.
        among_BTN: bool, frames that share the patches; a clip without such frames gets none.
        draws_BTN: float in [0, 1), drawn for each frame.

    Returns:
        int64 [B, T, N], 0 in the other frames; the sum over a clip is its total.
    """
    frames_B = among_BTN.sum(dim=(1, 2)).clamp(min=1)
    each_B = total_B.div(frames_B, rounding_mode="floor")
    more_B1 = (total_B - each_B * frames_B)[:, None]
    order_BF = draws_BTN.masked_fill(~among_BTN, -1).flatten(1).argsort(dim=-1, descending=True)
    num_masked_BTN = each_B[:, None, None] + (order_BF.argsort(dim=-1) < more_B1).view_as(draws_BTN)
    return num_masked_BTN * among_BTN


def fixed_budget_scores(part: MaskStrategy, context: MaskContext, whole: MaskStrategy) -> Tensor:
    """Score patches with an inner strategy that must not set the frames' budgets.

    Args:
        part: the inner strategy.
        context: its input.
        whole: the strategy that contains it, for the error message.

    Returns:
        scores_BTNhw: float32; the patches with the highest scores of a frame are hidden first.

    Raises:
        ValueError: if the inner strategy sets the frames' budgets.
    """
    mask_scores = part.score(context)
    if mask_scores.num_masked_BTN is not None:
        names = type(part).__name__, type(whole).__name__
        raise ValueError(
            "{0} inside {1} decides how many patches each frame hides, which {1} does not leave to "
            "its parts; give it a strategy that only scores patches".format(*names)
        )
    return mask_scores.scores_BTNhw
