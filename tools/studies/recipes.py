"""Recipe study: pretraining recipes compared by the detectors that start from their backbones.

A recipe is a pretraining config with its number of iterations and options. Each is pretrained once
per backbone seed, and a detector is fine-tuned from every backbone with every fine-tuning seed, and
from random initialisation. Recipes are compared in pairs of the same two seeds. One backbone per
recipe can only hint at a difference; a claim needs several, because backbones of one recipe differ
as well.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

import msgspec
from mmengine.config import Config

from drivemim.config.building import build_model
from drivemim.config.loading import load_config, reading_errors
from drivemim.config.option_values import format_option
from drivemim.config.shipped import find_config
from drivemim.data.index.frame_index import FrameIndex
from drivemim.errors import ConfigError, did_you_mean
from drivemim.files import ensure_folder
from drivemim.training.input_files import check_input_files
from drivemim.training.schedule import check_schedule
from studies.label_efficiency.inputs import parse_options
from studies.label_efficiency.settings import METRICS, RANDOM, Initialisation, LabelStudy
from studies.pretraining_inputs import pretraining_inputs, write_pretraining_inputs
from workflow.commands import (
    check_two_phases,
    export_step,
    last_checkpoint,
    train_step,
    two_phase_schedule,
)
from workflow.steps import Group, Step, seconds_of_completed

SIDE_BY_SIDE = 2  # runs at the same time


class Recipe(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A way to pretrain a backbone.

    Attributes:
        config: path or name of the pretraining config.
        iterations: length of the pretraining.
        options: dotted config keys to replace.
        control: recipe that this one is compared with; by default the study's. A recipe that has a
            placebo names it here.
    """

    config: str
    iterations: int
    options: dict[str, Any] = {}
    control: str | None = None


class Detector(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The detector that is fine-tuned from every backbone, and its data.

    Attributes:
        config: path or name of the detector config.
        index: index of the labelled frames.
        train: split that labels are taken from.
        val: split that detectors are evaluated on; no pretraining may see its images.
        iterations: length of the fine-tuning.
        fractions: label fractions.
        options: dotted config keys to replace.
        metrics: names of metrics where higher is better.
        allow_boxes_read: compare recipes whose pretraining read boxes of more frames than a
            fraction has, or of ``val``, and mark them.
    """

    config: str
    index: str
    train: str
    val: str
    iterations: int
    fractions: tuple[float, ...] = (0.1,)
    options: dict[str, Any] = {}
    metrics: tuple[str, ...] = METRICS
    allow_boxes_read: bool = False


class RecipeStudy(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Settings of a recipe study. Paths are relative to the repository.

    Attributes:
        recipes: recipes by name.
        control: recipe that the others are compared with.
        detector: what is fine-tuned from the backbones.
        backbones: seeds of pretraining.
        seeds: seeds of fine-tuning and of its labels.
        options: dotted config keys to replace in every pretraining, such as the index.
    """

    recipes: dict[str, Recipe]
    control: str
    detector: Detector
    backbones: tuple[int, ...] = (0,)
    seeds: tuple[int, ...] = (0, 1, 2, 3, 4)
    options: dict[str, Any] = {}

    def control_of(self, name: str) -> str:
        """Return the recipe that another is compared with."""
        return self.recipes[name].control or self.control


_FIELDS = {field for kind in (Recipe, Detector, RecipeStudy) for field in kind.__struct_fields__}


def read_study(path: Path, **changes: Any) -> RecipeStudy:
    """Read the settings of a study.

    Args:
        path: a Python, JSON or YAML file with the attributes of :class:`RecipeStudy`. Names that
            begin with an underscore are no settings, and ignored.
        changes: attributes that replace those of the file, unless they are None.

    Raises:
        ConfigError: if the file cannot be read, or a setting is unknown or invalid.
    """
    if not path.is_file():
        raise ConfigError(f"there is no study {path}")
    with reading_errors(path):
        settings = Config.fromfile(str(path)).to_dict()
    settings |= {key: value for key, value in changes.items() if value is not None}
    settings = {key: value for key, value in settings.items() if not key.startswith("_")}
    try:
        study = msgspec.convert(settings, RecipeStudy)
    except msgspec.ValidationError as error:
        unknown = re.search(r"unknown field `(\w+)`", str(error))
        suggestion = did_you_mean(unknown[1], _FIELDS) if unknown else ""
        raise ConfigError(f"{path}: {error}{suggestion}") from error
    _check(study, path)
    return study


def _check(study: RecipeStudy, path: Path) -> None:
    controls = {f"recipes.{name}.control": study.control_of(name) for name in study.recipes}
    for key, name in {"control": study.control, **controls}.items():
        if name not in study.recipes:
            raise ConfigError(
                f"{path}: {key}={name!r} is not a recipe{did_you_mean(name, study.recipes)}"
            )
    for name, recipe in study.recipes.items():
        Initialisation.parse(f"{name}=x")  # raises if the name cannot be that of an initialisation
        if recipe.iterations < 1:
            raise ConfigError(f"{path}: recipes.{name}.iterations must be at least 1")
    for key in ("backbones", "seeds"):
        values = getattr(study, key)
        if not values or len(set(values)) < len(values) or min(values) < 0:
            raise ConfigError(f"{path}: {key}={values} must be different seeds, 0 or above")


def check_recipes(study: RecipeStudy, repository: Path) -> None:
    """Check all configs, their options and their files before the first run.

    Args:
        study: settings of the study.
        repository: folder that paths are relative to.

    Raises:
        ConfigError: if a config cannot be used, or an option names a key that does not exist.
        DataError: if a split is not in the detector's index.
        FileNotFoundError: if an index or initial weights are missing.
    """
    detector = study.detector
    for name in study.recipes:
        cfg = _pretraining_config(study, name, repository)
        build_model(cfg, study.recipes[name].config)
        check_input_files(cfg, ["train_dataloader"], weights=True, folder=repository)
    cfg = _config_of_run(detector.config, detector.iterations, detector.options, repository)
    build_model(cfg, detector.config)
    index = FrameIndex.open(repository / detector.index)
    for split in (detector.train, detector.val):
        index.scene_rows(split)


def write_inputs(study: RecipeStudy, work_dir: Path, repository: Path) -> None:
    """Write a file per recipe with its settings and data; if it changes, its runs are repeated.

    Args:
        study: settings of the study.
        work_dir: folder of the runs; the files go to its folder ``inputs``.
        repository: folder that paths are relative to.

    Raises:
        ConfigError: if a config cannot be used.
    """
    ensure_folder(repository / work_dir)
    for name in study.recipes:
        config = _pretraining_config(study, name, repository)
        write_pretraining_inputs(
            repository / pretraining_inputs(work_dir, name), config, repository
        )


def _pretraining_config(study: RecipeStudy, name: str, repository: Path) -> Config:
    recipe = study.recipes[name]
    options = {**study.options, **recipe.options}
    return _config_of_run(recipe.config, recipe.iterations, options, repository)


def _config_of_run(
    config: str, iterations: int, options: Mapping[str, Any], repository: Path
) -> Config:
    """Read a config with the length and options of a run, and check its schedule."""
    path, flags = _config(config, repository), _as_flags(options)
    check_two_phases(load_config(path, parse_options(flags)), config)
    cfg = load_config(path, parse_options([*two_phase_schedule(iterations), *flags]))
    check_schedule(cfg)
    return cfg


def pretraining_plan(study: RecipeStudy, work_dir: Path) -> list[Group]:
    """Return the groups that pretrain and export every backbone; run as ``independent``.

    Args:
        study: settings of the study.
        work_dir: folder of the runs.
    """
    runs = [(name, seed) for seed in study.backbones for name in study.recipes]
    groups: list[Group] = []
    for at in range(0, len(runs), SIDE_BY_SIDE):
        side_by_side = runs[at : at + SIDE_BY_SIDE]
        groups.append(tuple(_pretrain_step(study, *run, work_dir) for run in side_by_side))
        groups.append(tuple(_export_step(study, *run, work_dir) for run in side_by_side))
    return groups


def pretraining_seconds(
    study: RecipeStudy, work_dir: Path, repository: Path
) -> dict[str, list[float]]:
    """Return how long the finished backbones of every recipe took, with interruptions left out.

    Args:
        study: settings of the study.
        work_dir: folder of the runs.
        repository: folder that paths are relative to.
    """
    steps = {
        name: [pretraining_name(name, seed) for seed in study.backbones] for name in study.recipes
    }
    return {
        name: list(seconds_of_completed(step_names, work_dir, repository=repository).values())
        for name, step_names in steps.items()
    }


def missing_backbones(
    study: RecipeStudy, work_dir: Path, repository: Path
) -> list[tuple[str, int]]:
    """Return recipe and seed of the backbones that are not exported yet."""
    return [
        (name, seed)
        for seed in study.backbones
        for name in study.recipes
        if not (repository / _export(work_dir, name, seed)).is_file()
    ]


def label_study(
    study: RecipeStudy,
    work_dir: Path,
    repository: Path,
    without: Collection[tuple[str, int]] = (),
) -> LabelStudy:
    """Return the study that fine-tunes detectors from random initialisation and every backbone.

    Args:
        study: settings of the study.
        work_dir: folder of the runs.
        repository: folder that paths are relative to.
        without: recipe and seed of the backbones to leave out.

    Raises:
        ConfigError: if a setting of the detector is invalid.
    """
    detector = study.detector
    backbones = [
        Initialisation(
            name=init_name(name, seed), backbone=repository / _export(work_dir, name, seed)
        )
        for seed in study.backbones
        for name in study.recipes
        if (name, seed) not in without
    ]
    return LabelStudy(
        config=_config(detector.config, repository),
        index=repository / detector.index,
        train=detector.train,
        val=detector.val,
        initialisations=(Initialisation.parse(RANDOM), *backbones),
        iterations=detector.iterations,
        work_dir=work_dir / "detectors",
        fractions=detector.fractions,
        seeds=study.seeds,
        options=_as_flags(detector.options),
        metrics=detector.metrics,
        allow_boxes_read=detector.allow_boxes_read,
    )


def init_name(recipe: str, backbone: int) -> str:
    """Return the name of a backbone in the label study."""
    return f"{recipe}.{backbone}"


def pretraining_name(recipe: str, backbone: int) -> str:
    """Return the name of the step that pretrains a backbone."""
    return f"pretrain-{recipe}-{backbone}"


def _pretrain_step(study: RecipeStudy, name: str, seed: int, work_dir: Path) -> Step:
    recipe = study.recipes[name]
    step = train_step(
        pretraining_name(name, seed),
        f"Pretrain {name}, backbone {seed}",
        recipe.config,
        work_dir / "pretrain" / f"{name}-{seed}",
        iterations=recipe.iterations,
        seed=seed,
        options=_as_flags({**study.options, **recipe.options}),
        reads=(f"{pretraining_inputs(work_dir, name)}",),
    )
    # The times of the runs are compared: one that runs alone must not get more cores.
    return dataclasses.replace(step, side_by_side=SIDE_BY_SIDE)


def _export_step(study: RecipeStudy, name: str, seed: int, work_dir: Path) -> Step:
    run = work_dir / "pretrain" / f"{name}-{seed}"
    checkpoint = last_checkpoint(run, study.recipes[name].iterations)
    return export_step(
        f"export-{name}-{seed}",
        f"Export {name}, backbone {seed}",
        checkpoint,
        _export(work_dir, name, seed),
        reads=(f"{checkpoint}",),
    )


def _export(work_dir: Path, name: str, seed: int) -> Path:
    return work_dir / "backbones" / f"{name}.{seed}.safetensors"


def _config(name: str, repository: Path) -> Path:
    """Return the path of a config, given as a path in the repository or as a shipped name."""
    path = repository / name
    return path if path.is_file() else find_config(name)


def _as_flags(options: Mapping[str, Any]) -> tuple[str, ...]:
    """Return options as ``--cfg-options`` takes them.

    Raises:
        ConfigError: if a value is a mapping, which the command line cannot express.
    """
    for key, value in options.items():
        if isinstance(value, Mapping):
            raise ConfigError(f"options[{key!r}]: set its keys one by one, not {value!r}")
    return tuple(format_option(key, value) for key, value in options.items())
