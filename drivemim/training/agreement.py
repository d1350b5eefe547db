"""Checks, before a run begins, that settings of model, data and evaluation agree.

None of these mistakes raises an error by itself. A head with one class too few learns the last
class as background, anchors with wrong strides lie outside the image, and the run ends normally.
"""

from __future__ import annotations

import bisect
import logging
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import torch
from mmengine.logging import print_log
from torch import nn

from drivemim.config.loading import dicts_in
from drivemim.config.nested import short_type
from drivemim.data.detection.detection_dataset import FrameDetection
from drivemim.data.index.copies import is_same_index, shared_frames
from drivemim.data.index.image_shapes import describe_stretched
from drivemim.errors import ConfigError
from drivemim.training.training_length import Length

# Attributes of heads that hold a generator of anchors or points; guided anchoring has the last two.
_GENERATORS = ("prior_generator", "approx_anchor_generator", "square_anchor_generator")
_SIDE = 256  # side of the image that strides are measured with, pixels


def warn_of_copies(trained: Any, evaluated: Any, where: tuple[str, str]) -> str | None:
    """Count the images that are used for both training and evaluation.

    Args:
        trained: the training data set, possibly wrapped in others.
        evaluated: the evaluation data set, likewise; the two may have different indices.
        where: keys of their loaders.

    Returns:
        A warning; None if there are no such images, or a data set reads no index.
    """
    count, copies, total, first = 0, 0, 0, None
    for val in _of_an_index(evaluated):
        # For each row of ``val`` that is also trained on: whether training uses only copies of it.
        seen: dict[int, bool] = {}
        for train in _of_an_index(trained):
            same_index = is_same_index(val.index, train.index)
            pairs = shared_frames(val.index, val.rows, train.index, train.rows)
            for row, trained_row in pairs.tolist():
                is_copy = not same_index or row != trained_row
                seen[row] = seen.get(row, True) and is_copy
        count, copies, total = count + len(seen), copies + sum(seen.values()), total + len(val.rows)
        if seen and first is None:
            first = val.index.frames.path[min(seen, key=lambda row: (seen[row], row))]
    if not count:
        return None
    return (
        f"{count} of the {total} images of {where[1]} are also images of {where[0]} ({copies} of "
        f"them as copies), first {first}: results on {where[1]} are partly results on training "
        "images"
    )


def _of_an_index(dataset: Any) -> Iterator[FrameDetection]:
    """Return the data sets that read an index, also inside wrappers."""
    return (each for each in datasets_in(dataset) if isinstance(each, FrameDetection))


def datasets_in(dataset: Any) -> Iterator[Any]:
    """Yield the innermost data sets of a wrapped or concatenated one, or the data set itself."""
    if hasattr(dataset, "datasets"):
        for each in dataset.datasets:
            yield from datasets_in(each)
    elif hasattr(dataset, "dataset"):
        yield from datasets_in(dataset.dataset)
    else:
        yield dataset


def check_one_resize(pipeline: Sequence[Any], where: str) -> None:
    """Refuse a second resize in a test pipeline, whose boxes would be wrong.

    MMDetection scales predictions back by the last resize only.

    Args:
        pipeline: configs of the transforms.
        where: key of the pipeline's loader.

    Raises:
        ConfigError: naming the transform.
    """
    names = [short_type(each) for each in pipeline if isinstance(each, Mapping)]
    resizes = [name for name in names[1:] if "Resize" in name]
    if resizes and names[0].startswith("LoadReduced"):
        raise ConfigError(
            f"{where}: {names[0]} resizes the images already. With {resizes[0]} after it, boxes "
            f"would be scaled back wrongly; leave {resizes[0]} out, and set image_size instead"
        )


def check_strides(model: nn.Module) -> None:
    """Refuse heads whose strides differ from those of their feature maps.

    The backbone and neck run once, on an image of zeros. If they cannot, the strides are not
    checked, and a warning says so.

    Args:
        model: a detector of MMDetection; a model without ``extract_feat`` passes.

    Raises:
        ConfigError: naming the head and both lists.
    """
    expected = list(_strides(model))
    if not expected or not hasattr(model, "extract_feat"):
        return
    try:
        measured = _measure(model)
    except (RuntimeError, AssertionError, TypeError, ValueError) as error:
        # The model may be valid, and only refuse this image. If not, its first batch stops the run.
        print_log(
            f"the strides of {expected[0][0]} were not checked: {error}", "current", logging.WARNING
        )
        return
    for name, strides, is_prefix in expected:
        levels = measured[: len(strides)] if is_prefix else measured
        if list(strides) != levels:
            raise ConfigError(
                f"model.{name}={list(strides)}, but the maps that the backbone and neck give have "
                f"the strides {measured}: boxes would be misplaced; set it to {levels}"
            )


def check_evaluator(evaluator: Any, dataset: Any, where: str) -> None:
    """Refuse an evaluator that reads another annotation file than its data set, or no boxes at all.

    Args:
        evaluator: config of one evaluator, or of several.
        dataset: data set that is evaluated on.
        where: key of the evaluator.

    Raises:
        ConfigError: naming both files, or the index without boxes.
    """
    if any(short_type(each) == "DetectionAP" for each in dicts_in(evaluator)):
        frames = list(_of_an_index(dataset))
        if frames and not any(each.has_boxes for each in frames):
            raise ConfigError(
                f"{where}: {frames[0].index.path} has no boxes in the chosen scenes, so that there "
                "is nothing to evaluate; build the index with annotations (for frames: --coco), or "
                "draw detections with drivemim predict"
            )
    files = [each.ann_file for each in datasets_in(dataset) if getattr(each, "ann_file", None)]
    for each in dicts_in(evaluator):
        given = each.get("ann_file")
        same = [os.path.realpath(file) == os.path.realpath(str(given)) for file in files]
        if given and files and not any(same):
            raise ConfigError(
                f"{where}.ann_file={given}, but the data set reads {files[0]}: detections would "
                "be compared with the boxes of other images; give both the same file"
            )


def warn_of_ignored(config: Mapping[str, Any], dataset: Any) -> str | None:
    """Warn if objects that the filters exclude would be trained as background.

    Args:
        config: config with ``model``.
        dataset: data set that is trained on.

    Returns:
        The warning, or None.
    """
    if not any(getattr(part, "filters", None) for part in datasets_in(dataset)):
        return None
    model = config.get("model") or {}
    kinds = [short_type(part) for part in dicts_in(model)]
    if any(kind.startswith("Ignoring") or kind == "Mono3DHead" for kind in kinds):
        return None
    assigners = [
        part for part in dicts_in(model.get("train_cfg")) if "Assigner" in short_type(part)
    ]
    unaware = [part for part in assigners if not part.get("ignore_iof_thr", -1) > 0]
    if assigners and not unaware:
        return None
    name = short_type(unaware[0]) if unaware else "the head"
    return (
        f"{name} trains objects that the data set's filters exclude as background; set "
        "ignore_iof_thr=0.5 of every assigner in model.train_cfg, or take a head that ignores "
        "them (docs/guides/detectors.md)"
    )


def warn_of_stretch(dataset: Any) -> str | None:
    """Warn if ``LoadReducedImage`` changes the proportions of a data set's images by over 10 %.

    The usual cause is an ``image_size`` whose height and width were swapped.

    Args:
        dataset: data set of a detector, possibly wrapped in others.

    Returns:
        The warning, or None.
    """
    for frames in _of_an_index(dataset):
        transforms = getattr(frames.pipeline, "transforms", ())
        for size in (getattr(transform, "image_size", None) for transform in transforms):
            if size is not None and (
                stretch := describe_stretched(frames.index, frames.rows, size, 1)
            ):
                return stretch.line
    return None


def warn_of_sizes(config: Mapping[str, Any], loaders: Sequence[str]) -> str | None:
    """Warn if training and evaluation read frames at different sizes.

    Args:
        config: config with the loaders.
        loaders: keys of the loaders to compare.

    Returns:
        The warning, or None.
    """
    sizes = {
        loader: {
            tuple(each["image_size"])
            for each in dicts_in(config.get(loader))
            if short_type(each) == "LoadReducedImage" and "image_size" in each
        }
        for loader in loaders
    }
    known = {loader: loaded for loader, loaded in sizes.items() if loaded}
    if len(known) < 2 or len({frozenset(loaded) for loaded in known.values()}) == 1:
        return None
    described = ", ".join(f"{loader} at {sorted(loaded)}" for loader, loaded in known.items())
    return f"frames are read at different sizes (height, width): {described}"


def check_scaled_rate(config: Mapping[str, Any]) -> str | None:
    """Check a learning rate that MMEngine scales with the batch size.

    Args:
        config: config with ``auto_scale_lr``.

    Returns:
        A warning if batches are accumulated, which MMEngine does not count; otherwise None.

    Raises:
        ConfigError: if ``base_batch_size``, which the learning rate is meant for, is missing.
    """
    scale = config.get("auto_scale_lr") or {}
    if not scale.get("enable"):
        return None
    base = scale.get("base_batch_size")
    if not isinstance(base, (int, float)) or isinstance(base, bool) or not base > 0:
        raise ConfigError(
            f"auto_scale_lr.enable=True, but auto_scale_lr.base_batch_size={base}: set it to the "
            "batch size, of all processes, that optim_wrapper.optimizer.lr is meant for"
        )
    counts = (config.get("optim_wrapper") or {}).get("accumulative_counts", 1)
    if counts == 1:
        return None
    return (
        f"auto_scale_lr scales the rate for the batch of one iteration: the {counts} that "
        f"optim_wrapper.accumulative_counts gathers are not counted; set "
        f"auto_scale_lr.base_batch_size to {base} / {counts} = {base / counts:g}"
    )


def check_epochs(sampler: Any, length: Length | None) -> None:
    """Refuse an infinite sampler in a loop that counts epochs.

    Args:
        sampler: sampler of the training data.
        length: length of the training; None if unknown.

    Raises:
        ConfigError: naming the sampler and the length.
    """
    name = type(sampler).__name__
    if length is not None and length.by_epoch and name.endswith("InfiniteSampler"):
        raise ConfigError(
            f"train_dataloader.sampler.type={name} never ends an epoch, but the loop counts "
            f"epochs ({length.key}={length.units}): take an IterBasedTrainLoop with max_iters, or "
            "DefaultSampler"
        )


def check_updates(config: Mapping[str, Any], length: Length | None) -> None:
    """Refuse epochs that end between two updates of the weights.

    A checkpoint at the end of such an epoch would lack the gradients accumulated so far.

    Args:
        config: config with ``optim_wrapper``.
        length: length of the training, with the iterations per epoch; None if unknown.

    Raises:
        ConfigError: with the nearest numbers that fit.
    """
    counts = (config.get("optim_wrapper") or {}).get("accumulative_counts", 1)
    epoch = length.epoch_length if length is not None and length.by_epoch else None
    if not epoch or epoch % counts == 0:
        return
    divisors = [number for number in range(1, epoch + 1) if epoch % number == 0]
    larger = bisect.bisect(divisors, counts)
    fitting = " or ".join(map(str, divisors[larger - 1 : larger + 1]))
    raise ConfigError(
        f"optim_wrapper.accumulative_counts={counts} does not divide the {epoch} iterations of an "
        f"epoch: a run that is resumed after an epoch would lose gradients; set it to {fitting}, "
        "or change train_dataloader.batch_size so that an epoch has a multiple of "
        f"{counts} iterations"
    )


def _strides(model: nn.Module) -> Iterator[tuple[str, list[int], bool]]:
    """Yield the config key and strides of each head, and whether its maps are only the first ones.

    RoI heads pool from the first maps of the neck; dense heads use all of them.
    """
    for name, module in model.named_modules():
        parts = name.split(".")
        # The semantic branch of HTC has its own map.
        if hasattr(module, "featmap_strides") and "semantic_roi_extractor" not in parts:
            path = re.sub(r"\.\d+$", "", name)  # a cascade has an extractor for each stage
            yield f"{path}.featmap_strides", [int(each) for each in module.featmap_strides], True
        if parts[-1] != "bbox_head" and "rpn_head" not in parts:
            continue
        for attribute in _GENERATORS:
            generator = getattr(module, attribute, None)
            strides = getattr(generator, "strides", None)
            # The strides of an SSD depend on the image size.
            if not strides or type(generator).__name__.startswith("SSD"):
                continue
            sides = [each[0] if isinstance(each, (list, tuple)) else each for each in strides]
            if any(side != int(side) for side in sides):  # YOLACT: for one image size
                continue
            flat = [int(side) for side in sides]
            key = f"{attribute}.strides" if attribute != "prior_generator" else "strides"
            if key == "strides" and hasattr(generator, "base_sizes"):
                key = "anchor_generator.strides"
            if max(flat) <= _SIDE:  # larger strides cannot be measured
                yield f"{name}.{key}", flat, False


@torch.no_grad()
def _measure(model: Any) -> list[int]:
    """Measure the strides of the maps that backbone and neck give to the heads."""
    was_training = model.training
    model.eval()
    try:
        parameter = next(model.parameters())
        maps = model.extract_feat(parameter.new_zeros(1, 3, _SIDE, _SIDE))
        return [round(_SIDE / each.shape[-1]) for each in maps]
    finally:
        model.train(was_training)
