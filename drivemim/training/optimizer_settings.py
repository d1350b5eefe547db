"""Compare a run's optimizer with the one in the checkpoint that the run resumes from."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from drivemim.errors import CheckpointError, ConfigError

# Settings of PyTorch's optimizers that choose between implementations with the same result.
_IMPLEMENTATION = frozenset({"foreach", "fused", "capturable", "differentiable"})
# Settings that PyTorch added to optimizers over time: older checkpoints lack them.
_ADDED = _IMPLEMENTATION | {"maximize", "decoupled_weight_decay"}
_FIX = "or start a new run from the weights with load_from=CHECKPOINT"
"""End of every error's message."""


def check_same_optimizer(
    optimizer: Any,
    stored: Any,
    kind: str | None,
    *,
    key: str = "optim_wrapper.optimizer",
    follows_batch: bool = False,
) -> None:
    """Refuse an optimizer whose class or settings are not the checkpoint's; schedules may differ.

    MMEngine would silently replace the config's settings by the checkpoint's, and load the state
    even from an optimizer of another class.

    Args:
        optimizer: the run's optimizer.
        stored: its ``state_dict`` in the checkpoint.
        kind: class of the checkpoint's optimizer; None if unknown.
        key: config key, for the error.
        follows_batch: whether learning rates may differ, since they follow the batch size.

    Raises:
        CheckpointError: if the checkpoint's state has no parameter groups.
        ConfigError: if the class, the parameter groups or a setting of them differ.
    """
    groups = stored.get("param_groups") if isinstance(stored, Mapping) else None
    if not isinstance(groups, list) or not all(
        isinstance(each, Mapping) and isinstance(each.get("params"), list) for each in groups
    ):
        raise CheckpointError(
            "the checkpoint has an optimizer without parameter groups; take an earlier checkpoint"
        )
    own_kind = type(optimizer).__name__
    if kind is not None and kind != own_kind:
        raise ConfigError(
            f"{key}.type={own_kind}, but the checkpoint was trained with {kind}, whose state it "
            f"has. Set it to that, {_FIX}"
        )
    ours, theirs = (
        [len(each["params"]) for each in two] for two in (optimizer.param_groups, groups)
    )
    if ours != theirs:
        raise ConfigError(
            f"the optimizer of the config trains {sum(ours)} parameters in {len(ours)} groups, but "
            f"that of the checkpoint {sum(theirs)} in {len(theirs)}. Set optim_wrapper and the "
            f"frozen parts of the model as they were, {_FIX}"
        )
    for number, (own, loaded) in enumerate(zip(optimizer.param_groups, groups, strict=True)):
        where = f" in parameter group {number}" if number else ""
        _check_group(own, loaded, key, own_kind, where, rates=not follows_batch)


def _check_group(
    own: Mapping[str, Any],
    loaded: Mapping[str, Any],
    key: str,
    kind: str,
    where: str,
    *,
    rates: bool,
) -> None:
    """Refuse a parameter group whose settings are not the checkpoint's.

    Args:
        own: group of the run's optimizer.
        loaded: the same group of the checkpoint's.
        key: config key of the optimizer, for the error.
        kind: class of the run's optimizer, for the error.
        where: number of the group in words, for the error; empty for the first group.
        rates: whether learning rates are compared.

    Raises:
        ConfigError: naming the setting and both values.
    """
    ours, theirs = base_settings(own), base_settings(loaded)
    has_own = "max_lr" in own or "max_lr" in loaded  # OneCycleLR has rates of its own
    if has_own or not rates:
        for settings in (ours, theirs):
            for name in ("lr", "max_lr", "min_lr"):
                settings.pop(name, None)
    if one_sided := (ours.keys() ^ theirs.keys()) - _ADDED:
        raise ConfigError(
            f"{key}.type={kind}, but the checkpoint was trained with another optimizer: only one "
            f"of the two has {', '.join(sorted(one_sided))}. Set the checkpoint's, {_FIX}"
        )
    for name in sorted(ours.keys() & theirs.keys() - _IMPLEMENTATION):
        if ours[name] != theirs[name]:
            raise ConfigError(
                f"{key}.{name} gives {ours[name]}{where}, but the checkpoint was trained with "
                f"{theirs[name]}, which a resumed run keeps. Set it to that, {_FIX}"
            )


def base_settings(group: Mapping[str, Any]) -> dict[str, Any]:
    """Return the settings of a parameter group as they were before any scheduler changed them.

    MMEngine's schedulers keep the initial value of each setting that they change, as
    ``initial_NAME``. In optimizers with ``betas``, such as Adam, a scheduler of the momentum
    changes the first of the betas, and keeps its initial value in the same way.
    """
    settings = {name: _plain(value) for name, value in group.items() if name != "params"}
    for name in [each for each in settings if each.startswith("initial_")]:
        settings[name.removeprefix("initial_")] = settings.pop(name)
    if "betas" in settings and "momentum" in settings:
        settings["betas"] = (settings.pop("momentum"), *settings["betas"][1:])
    return settings


def _plain(value: Any) -> Any:
    """Return a value for comparison: numbers instead of tensors, tuples instead of lists."""
    if isinstance(value, Tensor):
        value = value.tolist()
    return tuple(_plain(each) for each in value) if isinstance(value, (list, tuple)) else value
