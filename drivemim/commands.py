"""The repository's tools as steps of a plan, for the demo and the studies."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from drivemim.steps import Step, run_length

# Sources that a step depends on besides the steps before it.
INDEX_SOURCES = ("drivemim/datasets", "tools/create_index.py")
TRAINING_SOURCES = (
    "drivemim/datasets",
    "drivemim/engine",
    "drivemim/geometry",
    "drivemim/masking",
    "drivemim/models",
    "drivemim/clips.py",
    "configs",
    "tools/train.py",
)
EXPORT_SOURCES = ("drivemim/engine", "drivemim/models", "tools/export_backbone.py")
TEST_SOURCES = ("drivemim/datasets", "drivemim/evaluation", "drivemim/models", "tools/test.py")


def last_checkpoint(run: Path, iterations: int) -> Path:
    """Where ``train_step`` leaves its result."""
    return run / f"iter_{iterations}.pth"


def index_step(
    name: str,
    title: str,
    source: str,
    out: Path,
    arguments: Sequence[str],
    reads: Sequence[str] = (),
) -> Step:
    """Build an index: ``tools/create_index.py SOURCE ARGUMENTS --out OUT``."""
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
    """Pretrain or fine-tune; goes on from the last checkpoint if there is one.

    Args:
        name: of the step.
        title: for people.
        config: path of the config.
        run: work directory of the training.
        iterations: length of the run.
        seed: of the run.
        options: ``KEY=VALUE`` to replace in the config.
        reads: sources whose change makes the result stale.
    """
    return Step(
        name=name,
        title=title,
        command=(
            *("tools/train.py", config, "--work-dir", f"{run}", "--resume"),
            *("--seed", f"{seed}", "--cfg-options", *run_length(iterations), *options),
        ),
        reads=tuple(reads),
        writes=(last_checkpoint(run, iterations),),
        folder=run,
    )


def without_validation(iterations: int) -> str:
    """Option that leaves evaluation to a step of its own, so that it is done once and not twice."""
    return f"train_cfg.val_begin={iterations + 1}"


def export_step(
    name: str, title: str, checkpoint: Path, backbone: Path, reads: Sequence[str] = ()
) -> Step:
    """Write the backbone of a pretraining run to a file for detectors."""
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
    """Evaluate a detector; its metrics go to ``out``, pictures of detections to ``show_dir``."""
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
