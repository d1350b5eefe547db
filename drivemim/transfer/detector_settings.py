"""Settings that make a detector's config start from an exported backbone.

Only settings that belong to the weights are changed. ``norm_eval`` and ``norm_cfg`` stay: whether
batch statistics are learned depends on the number of images per GPU, and the export brings its own
statistics. Partial freezing of a ResNet (``0 <= frozen_stages < num_stages``) is disabled: it is
the default of MMDetection's configs, which start from an ImageNet classifier, but after masked
pretraining the first stages need fine-tuning. A fully frozen backbone stays frozen, since that is
what its user wants. So does a ViT with frozen blocks: no config freezes them by default.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from keyword import iskeyword
from pathlib import Path
from pprint import pformat
from typing import Any

from mmengine.config import Config

from drivemim.config.class_options import written_settings
from drivemim.config.loading import dicts_in
from drivemim.config.nested import short_type
from drivemim.errors import ConfigError

_LOADER = "drivemim.LoadBackbone"
"""Hook that loads an export, and compares the features with the pretrainer's."""


@dataclass(frozen=True)
class ConfigOverride:
    """One line of a config.

    Attributes:
        key: dotted key.
        value: value of the key.
        reason: explanation for the reader of the config.
        replace: whether a dict replaces the inherited one instead of being merged into it.
    """

    key: str
    value: Any
    reason: str
    replace: bool = False


def config_overrides(
    user_config: Config, metadata: Mapping[str, Any], weights: Path, *, plain: bool
) -> list[ConfigOverride]:
    """Return the settings that a config needs in addition to its own.

    Args:
        user_config: the user's config, with ``model.backbone`` and ``model.data_preprocessor``.
        metadata: metadata of the export.
        weights: path of the file to load, absolute or below ``{{ fileDirname }}``.
        plain: load by MMEngine's ``init_cfg`` instead of ``drivemim.LoadBackbone``.
    """
    settings = [*_normalization(user_config, metadata["normalization"])]
    settings += _backbone(user_config, metadata["architecture"])
    settings += _without_other_weights(user_config)
    settings += [
        ConfigOverride(key, value, "of the config's classes, so that MMDetection's tools see them")
        for key, value in written_settings(user_config).items()
    ]
    load = _load_by_init_cfg if plain else _load_by_hook
    return settings + load(user_config, weights)


def check_input(user_config: Config, config: str) -> None:
    """Refuse a config whose input these settings cannot correct.

    Raises:
        ConfigError: if there is no backbone or preprocessor, or the preprocessor does not get
            images as they are read: uint8, BGR.
    """
    model = user_config.get("model") or {}
    if "backbone" not in model:
        inner = [key for key, value in model.items() if isinstance(value, Mapping)
                 and "backbone" in value]  # fmt: skip
        hint = f"; it has model.{inner[0]}.backbone: take the config of that" if inner else ""
        raise ConfigError(f"{config} has no model.backbone{hint}")
    preprocessor = model.get("data_preprocessor")
    if not isinstance(preprocessor, Mapping) or "data_preprocessor" in preprocessor:
        raise ConfigError(
            f"{config} has no model.data_preprocessor with a mean and std of its own; give it "
            "dict(type='DetDataPreprocessor', pad_size_divisor=32)"
        )
    if preprocessor.get("rgb_to_bgr"):
        raise ConfigError(
            f"{config} has model.data_preprocessor.rgb_to_bgr=True, so its pipeline gives images "
            "as RGB; make the pipeline load BGR, as LoadImageFromFile does by itself"
        )
    for key in ("train_dataloader", "val_dataloader", "test_dataloader"):
        if any(short_type(each) == "Normalize" for each in dicts_in(user_config.get(key))):
            raise ConfigError(
                f"{config}: the pipeline of {key} normalises images, and model.data_preprocessor "
                "would do so again; take its Normalize out"
            )


def format_overrides(settings: list[ConfigOverride], user_config: Config) -> str:
    """Format settings as lines of a config, with nested dicts.

    Args:
        settings: from :func:`config_overrides`.
        user_config: the inherited config, which decides what a dict must replace.
    """
    tree: dict[str, Any] = {}
    for setting in settings:
        node = tree
        *parents, last = setting.key.split(".")
        for part in parents:
            node = node.setdefault(part, {})
        node[last] = setting
    lines = (
        f"{name} = {_rendered(each, *_inherited(user_config, name))}" for name, each in tree.items()
    )
    return "\n".join(lines) + "\n"


def _inherited(parent: Any, name: str) -> tuple[Any, bool]:
    """Return the value of a key in the inherited config, and whether it exists: it may be None."""
    if not isinstance(parent, Mapping) and not isinstance(parent, Config):
        return None, False
    return parent.get(name), name in parent


def _rendered(value: Any, inherited: Any, exists: bool, depth: int = 1) -> str:
    """Format a value as text of a config.

    Args:
        value: a ``ConfigOverride``, or a dict of them.
        inherited: value of the same key in the inherited config.
        exists: whether the inherited config has the key.
        depth: level of indentation of a dict's lines.
    """
    # MMEngine merges a dict into an inherited dict. To replace a dict or any other value, a dict
    # needs ``_delete_``.
    replaces = exists and not isinstance(inherited, Mapping)
    if isinstance(value, ConfigOverride):
        content = value.value
        if isinstance(content, Mapping) and exists and (value.replace or replaces):
            content = {"_delete_": True, **content}
        both_lists = isinstance(content, list) and isinstance(inherited, list)
        if both_lists and inherited and content[: len(inherited)] == inherited:
            return f"_base_.{value.key} + {_call(content[len(inherited) :])}"
        return _call(content)
    indent = "    " * depth
    lines = [f"{indent}_delete_=True,\n"] if replaces else []
    lines += [f"{indent}{name}={_rendered(each, *_inherited(inherited, name), depth + 1)},\n"
              for name, each in value.items()]  # fmt: skip
    return "dict(\n" + "".join(lines) + "    " * (depth - 1) + ")"


def _call(value: Any) -> str:
    """Format a value in a config's style: ``dict(type='X')``."""
    if isinstance(value, Mapping):
        if not all(str(key).isidentifier() and not iskeyword(str(key)) for key in value):
            pairs = (f"{key!r}: {_call(each)}" for key, each in value.items())
            return "{" + ", ".join(pairs) + "}"
        return "dict(" + ", ".join(f"{key}={_call(each)}" for key, each in value.items()) + ")"
    if isinstance(value, list):
        return "[" + ", ".join(_call(each) for each in value) + "]"
    return pformat(value, width=10_000)


def _normalization(user_config: Config, exported: Mapping[str, Any]) -> list[ConfigOverride]:
    """Return the settings of the preprocessor: mean, std and colour order of the pretraining."""
    current = user_config.model.data_preprocessor
    same = all(_numbers(current.get(key)) == exported[key] for key in ("mean", "std")) and (
        bool(current.get("bgr_to_rgb")) == exported["bgr_to_rgb"]
    )
    reason = "the same as the export's" if same else "of the images it was pretrained on"
    return [
        ConfigOverride(f"model.data_preprocessor.{key}", exported[key], reason)
        for key in ("mean", "std", "bgr_to_rgb")
    ]


def _backbone(user_config: Config, exported: Mapping[str, Any]) -> list[ConfigOverride]:
    """Return the settings of the backbone that its new weights require."""
    current = user_config.model.backbone
    settings = []
    frozen, stages = current.get("frozen_stages", -1), current.get("num_stages", 4)
    is_ours = str(exported["type"]).startswith("drivemim.")
    if not is_ours and isinstance(frozen, int) and 0 <= frozen < stages:
        settings.append(
            ConfigOverride("model.backbone.frozen_stages", -1,
                    f"{frozen} assumes ImageNet weights; these stages need fine-tuning")
        )  # fmt: skip
    style = exported.get("style", "pytorch")
    if "style" in current and current.style != style:
        settings.append(
            ConfigOverride("model.backbone.style", style,
                    f"the weights determine which convolution has the stride; was {current.style}")
        )  # fmt: skip
    if current.get("pretrained") is not None:
        settings.append(ConfigOverride("model.backbone.pretrained", None, "other weights"))
    return settings


def _without_other_weights(user_config: Config) -> list[ConfigOverride]:
    """Return settings that disable the keys outside of the backbone that would load weights."""
    settings = []
    if user_config.get("load_from"):
        settings.append(ConfigOverride("load_from", None, "weights of a whole detector"))
    if user_config.get("backbone_checkpoint"):
        settings.append(ConfigOverride("backbone_checkpoint", None, "would replace the export"))
    init = user_config.model.get("init_cfg")
    if isinstance(init, Mapping) and init.get("type") == "Pretrained":
        settings.append(ConfigOverride("model.init_cfg", None, "weights of a whole detector"))
    return settings


def _load_by_init_cfg(user_config: Config, weights: Path) -> list[ConfigOverride]:
    """Return the settings that load the weights without DriveMIM."""
    value = {"type": "Pretrained", "checkpoint": str(weights)}
    settings = [
        ConfigOverride("model.backbone.init_cfg", value, "the exported weights", replace=True)
    ]
    hooks = _hooks_of(user_config)
    if hooks != list(user_config.get("custom_hooks") or []):
        settings.append(
            ConfigOverride("custom_hooks", hooks, "without the one that loads another export")
        )
    return settings


def _hooks_of(user_config: Config) -> list[Any]:
    """Return the inherited hooks, except those that load another export."""
    hooks = user_config.get("custom_hooks") or []
    return [each for each in hooks if each.get("type") != _LOADER]


def _load_by_hook(user_config: Config, weights: Path) -> list[ConfigOverride]:
    """Return the settings that load the weights by ``drivemim.LoadBackbone``."""
    imports = (user_config.get("custom_imports") or {}).get("imports") or []
    imports = [imports] if isinstance(imports, str) else list(imports)
    hook = {"type": _LOADER, "checkpoint": str(weights)}
    settings = [
        ConfigOverride("model.backbone.init_cfg", None, "loaded by the hook instead"),
        ConfigOverride(
            "custom_hooks", [*_hooks_of(user_config), hook], "loads strictly and compares features"
        ),
    ]
    if "drivemim.training" not in imports:
        settings.insert(
            1,
            ConfigOverride(
                "custom_imports.imports", [*imports, "drivemim.training"], "for the hook"
            ),
        )
    return settings


def _numbers(values: Any) -> Any:
    return None if values is None else [float(value) for value in values]
