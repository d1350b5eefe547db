"""Probes of a frozen backbone: classify patches of its feature map by the object that they show.

There are two simple classifiers, so that the result depends on the features and hardly on the
classifier: a linear one in closed form and nearest neighbours. Both are deterministic and fast.

Letters: X patches, C classes, S training patches that neighbours come from,
D feature channels.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from drivemim.clips import CLASSES, REST, Clips
from drivemim.errors import CheckpointError, DataError
from drivemim.masking.box_cover import patch_owners

NEIGHBOURS = 20
"""Number of nearest neighbours that vote."""
RIDGE = 1e-3
"""Ridge penalty. It is added to the matrix of the standardised features' weighted second moments,
whose diagonal is near 1."""
PATCHES_PER_CLASS = 4000
"""Largest number of training patches per class that the nearest neighbours come from."""
_CHUNK = 8192
"""Number of patches that are processed at a time; a larger one needs more memory."""


@dataclass(frozen=True, kw_only=True)
class LabelledPatches:
    """Features of patches and their classes.

    Attributes:
        features_XD: float32.
        labels_X: int64, position in ``names``: 0 for ``rest``, patches without an object.
        classes: names of the objects' classes.
    """

    features_XD: Tensor
    labels_X: Tensor
    classes: tuple[str, ...] = CLASSES

    @property
    def names(self) -> tuple[str, ...]:
        """Names of all classes; the first is that of patches without an object."""
        return (REST, *self.classes)


def patch_labels(clips: Clips, grid: tuple[int, int]) -> Tensor:
    """Return the class of each patch: that of the nearest object whose box covers it, or ``rest``.

    Args:
        clips: provides boxes, depths and labels.
        grid: patches down and across (h, w).

    Returns:
        int64 (B, T, N, h, w): 0 for ``rest``, else 1 + the position in the clips' classes.
    """
    clips.require("The classes of patches", "boxes", "labels")
    owners_BTNhw = patch_owners(
        clips.boxes_BTNM4, clips.depths_BTNM, clips.labels_BTNM >= 0, grid, clips.image_size
    )
    # A column is added in front, with the class 0 for patches without an owner (-1).
    classes_BTNM = torch.nn.functional.pad(clips.labels_BTNM + 1, (1, 0))
    classes_BTNL = classes_BTNM.gather(-1, (owners_BTNhw + 1).flatten(-2))
    return classes_BTNL.reshape(owners_BTNhw.shape)


def probe(train: LabelledPatches, val: LabelledPatches, *, seed: int = 0) -> dict[str, float]:
    """Train both classifiers on some patches and score them on others.

    Args:
        train: patches to learn from; every class must occur.
        val: patches to score.
        seed: selects the patches that neighbours come from.

    Returns:
        ``linear/...`` and ``knn/...``: average precision of each object class, their mean ``mAP``,
        and ``balanced_accuracy``, all in [0, 1]; and the ``effective_rank`` of ``val``'s features.

    Raises:
        DataError: if a class does not occur in ``train`` or ``val``.
        CheckpointError: if a feature is not finite.
    """
    check_patches(train, val)
    scores = {
        "linear": linear_scores(train, val.features_XD),
        "knn": neighbour_scores(train, val.features_XD, seed=seed),
    }
    metrics = {
        f"{name}/{metric}": value
        for name, scores_XC in scores.items()
        for metric, value in score_patches(scores_XC, val.labels_X, train.classes).items()
    }
    return {**metrics, "effective_rank": effective_rank(val.features_XD)}


def check_patches(train: LabelledPatches, val: LabelledPatches) -> None:
    """Refuse patches that cannot be classified.

    Args:
        train: patches to learn from.
        val: patches to score.

    Raises:
        DataError: if a class does not occur in ``train`` or ``val``.
        CheckpointError: if a feature is not finite.
    """
    for name, patches in (("train", train), ("val", val)):
        counts = torch.bincount(patches.labels_X, minlength=len(train.names)).tolist()
        if 0 in counts:
            raise DataError(
                f"{name} has {dict(zip(train.names, counts, strict=True))} patches; "
                "every class must occur, so choose more scenes or other classes"
            )
        if not bool(patches.features_XD.isfinite().all()):
            raise CheckpointError(f"features of {name} are not finite: the backbone diverged")


def linear_scores(train: LabelledPatches, features_XD: Tensor) -> Tensor:
    """Return class scores (X, C) of a ridge regression with equally weighted classes.

    Features are standardised with the training patches' statistics, so their scale does not matter.

    Args:
        train: patches to learn from; every class must occur.
        features_XD: patches to score.
    """
    mean_D, scale_D = _moments(train.features_XD)
    C = len(train.names)
    targets_XC = torch.nn.functional.one_hot(train.labels_X, C).double()
    weights_X = (targets_XC / targets_XC.sum(dim=0) / C).sum(dim=1)
    D = train.features_XD.shape[1]
    gram, right = (
        torch.zeros(D + 1, D + 1).double(),
        torch.zeros(D + 1, C).double(),
    )
    for start in range(0, len(targets_XC), _CHUNK):
        rows = slice(start, start + _CHUNK)
        inputs = ((train.features_XD[rows] - mean_D) / scale_D).double()
        inputs = torch.nn.functional.pad(inputs, (0, 1), value=1.0)
        weighted = inputs * weights_X[rows, None]
        gram += weighted.T @ inputs
        right += weighted.T @ targets_XC[rows]
    penalty = torch.full((D + 1,), RIDGE, dtype=torch.float64)
    penalty[-1] = 0.0  # the intercept is free
    solution = torch.linalg.solve(gram + penalty.diag(), right).float()
    scores_XC: Tensor = ((features_XD - mean_D) / scale_D) @ solution[:-1] + solution[-1]
    return scores_XC


def neighbour_scores(train: LabelledPatches, features_XD: Tensor, *, seed: int = 0) -> Tensor:
    """Return class scores (X, C): fraction of each class among the nearest training patches.

    Similarity is the cosine of standardised features. At most ``PATCHES_PER_CLASS`` patches of each
    class are used, so that the many patches without an object do not outvote the others.

    Args:
        train: patches to search.
        features_XD: patches to score.
        seed: selects the training patches that are used.
    """
    generator = torch.Generator().manual_seed(seed)
    order_X = torch.randperm(len(train.labels_X), generator=generator)
    chosen = torch.cat([
        order_X[train.labels_X[order_X] == label][:PATCHES_PER_CLASS]
        for label in range(len(train.names))
    ])  # fmt: skip
    mean_D, scale_D = _moments(train.features_XD)
    keys_SD = _directions((train.features_XD[chosen] - mean_D) / scale_D)
    votes_SC = torch.nn.functional.one_hot(train.labels_X[chosen], len(train.names)).float()
    scores = []
    for part in torch.split(features_XD, _CHUNK):
        similarity = _directions((part - mean_D) / scale_D) @ keys_SD.T
        nearest = similarity.topk(min(NEIGHBOURS, len(chosen)), dim=1, sorted=False).indices
        scores.append(votes_SC[nearest].mean(dim=1))
    return torch.cat(scores)


def score_patches(
    scores_XC: Tensor, labels_X: Tensor, classes: Sequence[str] = CLASSES
) -> dict[str, float]:
    """Compute the average precision of each object class, their mean, and balanced accuracy.

    Args:
        scores_XC: class scores; the highest in a row is the prediction.
        labels_X: true class: 0 for ``rest``, else 1 + the position in ``classes``; every class
            must occur.
        classes: names of the objects' classes.

    Returns:
        ``CLASS_AP`` of each class, their mean ``mAP``, and ``balanced_accuracy``, the mean over
        classes (including ``rest``) of the fraction of a class's patches that are predicted
        correctly.
    """
    precisions = {
        f"{name}_AP": average_precision(scores_XC[:, label], labels_X == label)
        for label, name in enumerate(classes, start=1)
    }
    right_X = (scores_XC.argmax(dim=1) == labels_X).double()
    recalls = [float(right_X[labels_X == label].mean()) for label in range(len(classes) + 1)]
    return {
        **precisions,
        "mAP": sum(precisions.values()) / len(precisions),
        "balanced_accuracy": sum(recalls) / len(recalls),
    }


def average_precision(scores_X: Tensor, positive_X: Tensor) -> float:
    """Compute the average precision: the sum over thresholds of precision times gain in recall.

    Equal scores share one threshold. Unlike COCO's, the precision is not interpolated.

    Args:
        scores_X: scores of one class.
        positive_X: bool, True for patches of this class.

    Returns:
        In [0, 1]; NaN without a positive.
    """
    order_X = scores_X.argsort(descending=True)
    scores_X, hits_X = scores_X[order_X], positive_X[order_X].double().cumsum(0)
    last_X = torch.ones_like(positive_X)
    last_X[:-1] = scores_X[1:] != scores_X[:-1]
    counts_X = torch.arange(1, len(scores_X) + 1, dtype=torch.float64)
    hits, counts = hits_X[last_X], counts_X[last_X]
    gained = torch.diff(hits, prepend=hits.new_zeros(1))
    return float((hits / counts * gained).sum() / positive_X.sum())


def effective_rank(features_XD: Tensor) -> float:
    """Compute the exponential of the entropy of the features' covariance eigenvalues.

    This effective rank measures how many directions the features use. Eigenvalues are normalised to
    sum to 1; D equal eigenvalues give D, a single one gives 1. Constant features give 0. Roy and
    Vetterli (EUSIPCO 2007) define it for singular values; those of a covariance are its
    eigenvalues.
    """
    mean_D = features_XD.double().mean(dim=0)
    covariance = torch.zeros(len(mean_D), len(mean_D)).double()
    for part in torch.split(features_XD, _CHUNK):
        centred = part.double() - mean_D
        covariance += centred.T @ centred
    values = torch.linalg.eigvalsh(covariance).clamp(min=0)
    if not bool(values.sum() > 0):
        return 0.0
    fractions = values / values.sum()
    return float(torch.exp(-(torch.xlogy(fractions, fractions)).sum()))


def probe_table(results: Mapping[str, Any]) -> str:
    """Format the results of a probe as a small Markdown table, in percent.

    Args:
        results: from :func:`probe`. Two more keys may hold results for comparison, which become
            rows of the table: ``random``, those of :func:`probe` for a backbone with random
            weights, and ``constant``, those of :func:`score_patches` for equal scores of all
            patches.
    """
    columns = [name.partition("/")[2] for name in results if name.startswith("linear/")]
    lines = [f"| % | {' | '.join(name.replace('_', ' ') for name in columns)} |"]
    lines.append("|---" * (len(columns) + 1) + "|")

    def add(name: str, metrics: Mapping[str, float], prefix: str) -> None:
        values = [f"{100 * metrics[f'{prefix}{column}']:.1f}" for column in columns]
        lines.append(f"| {name} | {' | '.join(values)} |")

    random, constant = results.get("random"), results.get("constant")
    for classifier in ("linear", "knn"):
        add(classifier, results, f"{classifier}/")
        if random is not None:
            add(f"{classifier}, random initialisation", random, f"{classifier}/")
    if constant is not None:
        add("constant classifier", constant, "")
    rank = f"effective rank {results['effective_rank']:.1f}"
    if random is not None:
        rank += f", {random['effective_rank']:.1f} from random initialisation"
    return "\n".join([*lines, "", rank])


def _moments(features_XD: Tensor) -> tuple[Tensor, Tensor]:
    """Compute each feature's mean and standard deviation; 1 for a constant feature's deviation."""
    variance_D, mean_D = torch.var_mean(features_XD, dim=0, correction=0)
    return mean_D, torch.where(variance_D > 0, variance_D, 1.0).sqrt()


def _directions(features_XD: Tensor) -> Tensor:
    """Scale features to length 1, so that their products are cosines."""
    return torch.nn.functional.normalize(features_XD, dim=1)
