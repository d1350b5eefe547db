"""Hooks that describe a training run in a few lines, and log its first iteration."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mmengine.dist import get_world_size
from mmengine.hooks import Hook, LoggerHook
from mmengine.logging import print_log

from drivemim.compat import built_loaders
from drivemim.training.bare_model import bare_model
from drivemim.training.hooks.record_pretraining import RecordPretraining
from drivemim.training.hooks.report_clips import clip_datasets

_PARTS = ("encoder", "decoder", "target", "backbone", "neck", "bbox_head", "rpn_head", "roi_head")
"""Attributes of a model whose classes are logged."""
_LOADERS = {"train_dataloader": "training images", "val_dataloader": "validation images"}
"""Data loaders whose images are counted, with the words for these images."""
_SHOWN = 10
"""Number of classes that are listed."""


class DescribeRun(Hook):
    """Log a line each about the data, the model, the masks, the inputs and the training."""

    priority = "VERY_HIGH"

    def before_train(self, runner: Any) -> None:
        """Log the lines."""
        if line := _describe_data(built_loaders(runner)):
            print_log(line, logger="current")
        model = bare_model(runner.model)
        print_log(_describe_model(model), logger="current")
        masking = runner.cfg.model.get("masking")
        if isinstance(masking, Mapping):
            print_log(f"masks: {_describe(masking)}", logger="current")
        for hook in runner.hooks:
            if isinstance(hook, RecordPretraining) and hook.record is not None:
                print_log(_describe_inputs(hook.record), logger="current")
        print_log(_describe_training(runner.cfg), logger="current")


class LogFirstIteration(Hook):
    """Log the losses of a run's first iteration, although MMEngine logs only every tenth.

    A run without MMEngine's ``LoggerHook`` logs none.
    """

    priority = "LOW"  # after the hooks that note losses and times

    def __init__(self) -> None:
        self._is_first = True

    def after_train_iter(
        self, runner: Any, batch_idx: int, data_batch: Any = None, outputs: Any = None
    ) -> None:
        """Log the first iteration, unless MMEngine does."""
        if not self._is_first:
            return
        self._is_first = False
        logger = next((each for each in runner.hooks if isinstance(each, LoggerHook)), None)
        if logger is None:
            return
        # MMEngine itself logs the last iteration of a pass over the data.
        is_logged_last = self.end_of_epoch(runner.train_dataloader, batch_idx) and (
            not logger.ignore_last or len(runner.train_dataloader) <= logger.interval
        )
        if not is_logged_last and not self.every_n_inner_iters(batch_idx, logger.interval):
            _, line = runner.log_processor.get_log_after_iter(runner, batch_idx, "train")
            print_log(line, logger="current")


def _describe_data(loaders: Mapping[str, Any]) -> str | None:
    """Return the line about the size and classes of a detector's data.

    None for data without classes, and for clips, which ``ReportClips`` describes.

    Args:
        loaders: data loaders by their names in the config.
    """
    sets = {name: loaders[name].dataset for name in _LOADERS if name in loaders}
    data = next(iter(sets.values()), None)
    classes = (getattr(data, "metainfo", None) or {}).get("classes")
    if not classes or next(clip_datasets(data), None) is not None:
        return None
    sizes = ", ".join(f"{len(each)} {_LOADERS[name]}" for name, each in sets.items())
    listed = list(map(str, classes))
    shown = ", ".join(listed[:_SHOWN]) + (
        f" and {len(listed) - _SHOWN} more" * (len(listed) > _SHOWN)
    )
    return f"data: {sizes}; classes: {shown}"


def _describe_model(model: Any) -> str:
    """Return the line about a model: its class, its parts and its number of parameters."""
    parts = [
        f"{name} {type(part).__name__}"
        for name in _PARTS
        if (part := getattr(model, name, None)) is not None
    ]
    parts += [f"auxiliary {type(each).__name__}" for each in getattr(model, "auxiliary", ())]
    parameters = list(model.parameters())
    count = sum(each.numel() for each in parameters)
    trained = sum(each.numel() for each in parameters if each.requires_grad)
    frozen = "" if trained == count else f", {trained / 1e6:.1f} M of them trained"
    return (
        f"model: {type(model).__name__} ({', '.join(parts) or 'no named parts'}), "
        f"{count / 1e6:.1f} M parameters{frozen}"
    )


def _describe(config: Mapping[str, Any]) -> str:
    """Return the type in a config's dict, and those of its settings that are text or numbers."""
    settings = ", ".join(
        f"{key}={value}"
        for key, value in config.items()
        if key != "type" and isinstance(value, str | int | float)
    )
    return f"{config.get('type')}{f' ({settings})' if settings else ''}"


def _describe_inputs(record: Mapping[str, Any]) -> str:
    """Return the line about what is read besides images, such as boxes, and by which parts.

    Args:
        record: record of the pretraining, from ``describe_pretraining``.
    """
    origins = " and ".join(sorted({part["boxes_from"] for part in record["data"]} - {None}))
    kinds = {"boxes": f"boxes from {origins}"}
    read = [
        f"{kinds.get(kind, kind)} ({', '.join(readers)})"
        for kind, readers in record["recipe"]["reads"].items()
        if readers
    ]
    return f"inputs besides images and calibration: {', '.join(read) or 'none'}"


def _describe_training(cfg: Any) -> str:
    """Return the line about batch size, length, optimizer and schedulers."""
    batch = cfg.train_dataloader.get("batch_size", 1)
    sizes = [f"batch size {batch}"]
    if (processes := get_world_size()) > 1:
        sizes.append(f"{processes} processes")
    if (updates := cfg.optim_wrapper.get("accumulative_counts", 1)) > 1:
        sizes.append(f"{updates} batches per update")
    unit = "max_iters" if cfg.train_cfg.get("max_iters") else "max_epochs"
    length = f"{cfg.train_cfg.get(unit)} {unit.removeprefix('max_').replace('iters', 'iterations')}"
    optimizer = cfg.optim_wrapper.get("optimizer") or {}
    schedulers = cfg.get("param_scheduler") or []
    listed = [schedulers] if isinstance(schedulers, Mapping) else schedulers
    names = ", then ".join(str(each.get("type")) for each in listed) or "constant rate"
    return (
        f"training: {', '.join(sizes)}; {length}; {optimizer.get('type')}, learning rate "
        f"{_describe_rate(cfg, optimizer.get('lr'))} ({names})"
    )


def _describe_rate(cfg: Any, rate: Any) -> str:
    """Return the learning rate as text; if MMEngine scales it with the batch size, both rates."""
    scale = cfg.get("auto_scale_lr") or {}
    batch = get_world_size() * cfg.train_dataloader.get("batch_size", 1)
    base = scale.get("base_batch_size")
    if not scale.get("enable") or batch == base or not isinstance(rate, int | float):
        return str(rate)
    return f"{rate * batch / base:.4g}, which is {rate} scaled from a batch of {base} to {batch}"
