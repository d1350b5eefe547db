"""Budgets (numbers of hidden patches) that differ between the frames of a clip."""

from torch import Tensor

from drivemim.masking.strategy import MaskContext, MaskStrategy


def split_budget(total_B: Tensor, sharing_BTN: Tensor, draws_BTN: Tensor) -> Tensor:
    """Split a number of patches evenly between some of a clip's frames.

    If the number of frames does not divide the number of patches, the frames with the highest draws
    get one patch more.

    Args:
        total_B: int64, number of patches to split in each clip.
        sharing_BTN: bool, True for the frames that share the patches.
        draws_BTN: float in [0, 1), drawn for each frame.

    Returns:
        int64 [B, T, N], number of patches of each frame; 0 for frames that do not share. The sum
        over a clip is its total, or 0 if none of its frames share.
    """
    frames_B = sharing_BTN.sum(dim=(1, 2)).clamp(min=1)
    per_frame_B = total_B.div(frames_B, rounding_mode="floor")
    remainder_B1 = (total_B - per_frame_B * frames_B)[:, None]
    order_BF = draws_BTN.masked_fill(~sharing_BTN, -1).flatten(1).argsort(dim=-1, descending=True)
    gets_one_more_BTN = (order_BF.argsort(dim=-1) < remainder_B1).view_as(draws_BTN)
    num_masked_BTN = per_frame_B[:, None, None] + gets_one_more_BTN
    return num_masked_BTN * sharing_BTN


def fixed_budget_scores(inner: MaskStrategy, context: MaskContext, outer: MaskStrategy) -> Tensor:
    """Score patches with an inner strategy that must not set the frames' budgets.

    Args:
        inner: strategy that scores the patches.
        context: input of ``inner``.
        outer: strategy that contains ``inner``, for the error message.

    Returns:
        scores_BTNhw: float32; the patches with the highest scores of a frame are hidden first.

    Raises:
        ValueError: if the inner strategy sets the frames' budgets.
    """
    mask_scores = inner.score(context)
    if mask_scores.num_masked_BTN is not None:
        names = type(inner).__name__, type(outer).__name__
        raise ValueError(
            "{0} inside {1} decides how many patches each frame hides, which {1} does not leave to "
            "its parts; give it a strategy that only scores patches".format(*names)
        )
    return mask_scores.scores_BTNhw
