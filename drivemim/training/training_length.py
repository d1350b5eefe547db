"""Length of the training that a config describes."""

from __future__ import annotations

from dataclasses import dataclass

from mmengine.config import Config

from drivemim.config.nested import short_type


@dataclass(frozen=True, kw_only=True)
class Length:
    """Length of a training run.

    Attributes:
        key: config key that sets the length.
        units: iterations, or epochs if ``by_epoch``.
        by_epoch: whether the loop counts epochs.
        iterations: total number of iterations; None if the iterations per epoch are not known yet.
        epoch_length: iterations per epoch of the data; None if not known yet.
    """

    key: str
    units: int
    by_epoch: bool
    iterations: int | None
    epoch_length: int | None = None

    def of(self, by_epoch: bool) -> int | None:
        """Return the length in epochs if ``by_epoch``, or else in iterations; None if unknown."""
        if by_epoch == self.by_epoch:
            return self.units
        if not by_epoch:
            return self.iterations
        return max(1, round(self.units / self.epoch_length)) if self.epoch_length else None

    def to_train_longer(self) -> str:
        """Return the part of a message that says how to train beyond this length."""
        if self.by_epoch:
            return (
                f"set a larger {self.key} with --cfg-options, and the ends of the schedules with it"
            )
        return "give a larger --iterations, which scales the schedules"


def training_length(config: Config, epoch_length: int | None = None) -> Length | None:
    """Return how long a config trains; None if its loop does not say.

    Args:
        config: config with ``train_cfg``.
        epoch_length: iterations per epoch, if known.
    """
    loop = config.get("train_cfg") or {}
    kind = short_type(loop)
    by_epoch = loop.get("by_epoch", kind == "EpochBasedTrainLoop")
    name = "max_epochs" if by_epoch else "max_iters"
    units = loop.get(name)
    if not isinstance(units, int) or units < 1:
        return None
    iterations = units if not by_epoch else units * epoch_length if epoch_length else None
    return Length(
        key=f"train_cfg.{name}",
        units=units,
        by_epoch=bool(by_epoch),
        iterations=iterations,
        epoch_length=epoch_length,
    )
