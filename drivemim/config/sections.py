"""Check that every section of a config is a dict or a list where it must be one."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from typing import Any

from mmengine.config import Config

from drivemim.config.nested import short_type
from drivemim.errors import ConfigError, did_you_mean

# Kind of each section, by its dotted key. ``dicts`` is a list of dicts; ``?`` allows None as well.
_KINDS = {
    "model": "dict",
    "randomness": "dict",
    "env_cfg": "dict",
    "env_cfg.mp_cfg": "dict?",
    "env_cfg.dist_cfg": "dict?",
    "default_hooks": "dict?",
    "custom_hooks": "dicts?",
    "optim_wrapper": "dict?",
    "optim_wrapper.optimizer": "dict",
    "optim_wrapper.paramwise_cfg": "dict?",
    "optim_wrapper.clip_grad": "dict?",
    "param_scheduler": "dict or dicts?",
    "auto_scale_lr": "dict?",
    "log_processor": "dict?",
    "visualizer": "dict?",
    "custom_imports": "dict?",
    **{
        f"{part}_{section}": kind
        for part in ("train", "val", "test")
        for section, kind in (("cfg", "dict?"), ("dataloader", "dict?"),
                              ("dataloader.dataset", "dict"), ("evaluator", "dict or dicts?"))
    },
}  # fmt: skip
# The same for the parts of a pretrainer's ``model``.
_PRETRAINER = {
    "encoder": "dict",
    "decoder": "dict",
    "target": "dict",
    "masking": "dict",
    "data_preprocessor": "dict",
    "teacher": "dict?",
    "auxiliary": "dicts",
    "patch_weights": "dict?",
}
_WORDS = {
    "dict": "a dict",
    "dicts": "a list of dicts",
    "dict or dicts": "a dict or a list of dicts",
}
"""Words for the kinds, for errors."""
_PLAIN = (str, int, float, list, tuple, type(None))
"""Types that are no element of a list of dicts."""
_LEVELS = ("DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL")
"""Values of ``log_level``, from most to fewest lines."""


def check_sections(config: Config, options: Collection[str] = ()) -> None:
    """Refuse a section of another kind than the code expects, before anything reads the section.

    Args:
        config: a config with its options applied.
        options: dotted keys of the options.

    Raises:
        ConfigError: naming the section and the kind; also for an unknown ``log_level``.
    """
    for key, kind in _kinds(config):
        *outer, name = key.split(".")
        section: Any = config
        for part in outer:
            section = section.get(part) or {}
        if name in section and not _fits(section[name], kind):
            is_option = any(f"{key}.".startswith(f"{option}.") for option in options)
            source = "--cfg-options " if is_option else f"{config.filename}: "
            wanted = _WORDS[kind.rstrip("?")] + (", or None" if kind.endswith("?") else "")
            raise ConfigError(f"{source}{key}={section[name]!r}: {key} must be {wanted}")
    level = config.get("log_level", "INFO")
    if level not in _LEVELS and (isinstance(level, bool) or not isinstance(level, int)):
        raise ConfigError(
            f"log_level={level!r} must be one of {', '.join(_LEVELS)}"
            f"{did_you_mean(str(level), _LEVELS)}"
        )


def _kinds(config: Config) -> Iterator[tuple[str, str]]:
    """Yield the keys and kinds of a config's sections; outer sections first."""
    yield from _KINDS.items()
    model = config.get("model") or {}
    if short_type(model) == "MaskedPretrainer":
        yield from ((f"model.{part}", each) for part, each in _PRETRAINER.items())
    for name in config.get("default_hooks") or {}:
        yield f"default_hooks.{name}", "dict?"


def _fits(value: Any, kind: str) -> bool:
    """Return whether a value is of a kind."""
    if value is None:
        return kind.endswith("?")
    if isinstance(value, Mapping):
        return kind.startswith("dict") and not kind.startswith("dicts")
    is_list = isinstance(value, (list, tuple))
    # A config of Python code may have built objects, such as hooks, in place of their configs.
    return "dicts" in kind and is_list and not any(isinstance(each, _PLAIN) for each in value)
