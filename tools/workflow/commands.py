"""Steps that call the repository's tools, for the plans of the demo and the studies."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from mmengine.config import Config

from drivemim.errors import ConfigError
from workflow.steps import Step

# Source files and folders that a step depends on, in addition to the steps before it.
INDEX_SOURCES = ("drivemim/data", "drivemim/cli/index.py")
TRAINING_SOURCES = (
    "drivemim/data",
    "drivemim/training",
    "drivemim/geometry",
    "drivemim/masking",
    "drivemim/models",
    "drivemim/clips.py",
    "configs",
    "drivemim/cli/train.py",
)
EXPORT_SOURCES = ("drivemim/training", "drivemim/models", "drivemim/cli/export.py")
TEST_SOURCES = (
    "drivemim/data",
    "drivemim/evaluation",
    "drivemim/models",
    "drivemim/cli/test.py",
)


def last_checkpoint(run: Path, iterations: int) -> Path:
    """Return the path of the checkpoint that ``train_step`` writes last."""
    return run / f"iter_{iterations}.pth"


def index_step(
    name: str,
    title: str,
    source: str,
    out: Path,
    arguments: Sequence[str],
    reads: Sequence[str] = (),
) -> Step:
    """Return a step that builds an index: ``tools/create_index.py SOURCE ARGUMENTS --out OUT``."""
    return Step(
        name=name,
        title=title,
        command=("tools/create_index.py", source, *arguments, "--out", f"{out}"),
        reads=tuple(reads),
        writes=(out,),
    )


def train_step(
    name: str,
    title: str,
    config: str,
    run: Path,
    *,
    iterations: int,
    seed: int,
    options: Sequence[str] = (),
    reads: Sequence[str] = (),
) -> Step:
    """Return a step that pretrains or fine-tunes; it resumes from the last checkpoint if any.

    Args:
        name: name of the step.
        title: description for the console.
        config: path of the config; see :func:`check_two_phases`.
        run: work directory of the training.
        iterations: length of the run.
        seed: seed of the run.
        options: ``KEY=VALUE`` overrides of the config.
        reads: sources whose change makes the result stale.
    """
    return Step(
        name=name,
        title=title,
        command=(
            *("tools/train.py", config, "--work-dir", f"{run}", "--resume"),
            *("--seed", f"{seed}", "--cfg-options", *two_phase_schedule(iterations), *options),
        ),
        reads=tuple(reads),
        writes=(last_checkpoint(run, iterations),),
        folder=run,
    )


def two_phase_schedule(iterations: int) -> tuple[str, ...]:
    """Return ``--cfg-options`` for a training of N iterations: warm-up, then decay.

    The warm-up lasts a twelfth of the training. A training of 3 iterations or more has a warm-up of
    at least 2. Unlike ``tools/train.py --iterations``, this ignores how long the config's own
    warm-up is. A checkpoint is written every 100 iterations. The config must have exactly two
    schedulers: see :func:`check_two_phases`.

    Args:
        iterations: length of the training.
    """
    shortest = 2 if iterations > 2 else 1  # MMEngine's warm-up of 1 never raises the rate
    warm_up = max(shortest, iterations // 12)
    return (
        f"train_cfg.max_iters={iterations}",
        f"param_scheduler.0.end={warm_up}",
        f"param_scheduler.1.begin={warm_up}",
        f"param_scheduler.1.end={iterations}",
        "default_hooks.checkpoint.interval=100",
    )


def check_two_phases(config: Config, name: str | Path) -> None:
    """Refuse a config that :func:`two_phase_schedule` does not fit.

    Args:
        config: config with the options of a run, but not yet its schedule.
        name: path or name of the config.

    Raises:
        ConfigError: if its ``param_scheduler`` is not a list of two.
    """
    schedulers = config.get("param_scheduler")
    is_list = isinstance(schedulers, (list, tuple))
    if not is_list or len(schedulers) != 2:
        found = f"a list of {len(schedulers)}" if is_list else "not a list"
        raise ConfigError(
            f"{name}: its param_scheduler is {found}, but a study sets the length of a warm-up and "
            "a decay; give the config a list of these two"
        )


def skip_validation(iterations: int) -> str:
    """Return the option that disables validation, because a separate step evaluates."""
    return f"train_cfg.val_begin={iterations + 1}"


def export_step(
    name: str, title: str, checkpoint: Path, backbone: Path, reads: Sequence[str] = ()
) -> Step:
    """Return a step that exports the backbone of a pretraining run for detectors."""
    return Step(
        name=name,
        title=title,
        command=("tools/export_backbone.py", f"{checkpoint}", f"{backbone}"),
        reads=tuple(reads),
        writes=(backbone,),
    )


def evaluate_step(
    name: str,
    title: str,
    config: str,
    checkpoint: Path,
    out: Path,
    *,
    work_dir: Path,
    options: Sequence[str] = (),
    reads: Sequence[str] = (),
    show_dir: Path | None = None,
    show_count: int = 0,
) -> Step:
    """Return a step that evaluates a detector: metrics to ``out``, pictures to ``show_dir``."""
    pictures = ("--show-dir", f"{show_dir}", "--show-count", f"{show_count}")
    return Step(
        name=name,
        title=title,
        command=(
            *("tools/test.py", config, f"{checkpoint}", "--out", f"{out}"),
            *("--work-dir", f"{work_dir}"),
            *(pictures if show_dir is not None else ()),
            *(("--cfg-options", *options) if options else ()),
        ),
        reads=tuple(reads),
        writes=(out,) if show_dir is None else (out, show_dir),
    )
