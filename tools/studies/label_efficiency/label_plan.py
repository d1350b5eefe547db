"""The plan of a label study: initialisations x label fractions x seeds.

Every run trains the same detector for the same number of iterations, so small subsets get more
epochs, not shorter training. A seed determines the subset, the new weights and the order of the
frames; all initialisations share these three for a given seed.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from drivemim.config.option_values import format_option
from studies.label_efficiency.inputs import (
    EVALUATION,
    LabelCount,
    StudyInputs,
    relative_path,
)
from studies.label_efficiency.settings import LabelStudy, Run
from workflow.commands import evaluate_step, last_checkpoint, skip_validation, train_step
from workflow.steps import Group, Step, completed_steps

SIDE_BY_SIDE = 2  # runs at the same time


def plan_label_study(study: LabelStudy, inputs: StudyInputs, repository: Path) -> list[Group]:
    """Return groups that train and evaluate every run, two at a time; run as ``independent``.

    Args:
        study: settings of the study.
        inputs: files of the study; a run is stale if one of them changes.
        repository: folder that the commands run in.
    """
    groups: list[Group] = []
    for at in range(0, len(study.runs), SIDE_BY_SIDE):
        runs = study.runs[at : at + SIDE_BY_SIDE]
        groups.append(tuple(training_step(study, inputs, run, repository) for run in runs))
        groups.append(tuple(evaluation_step(study, inputs, run, repository) for run in runs))
    return groups


def finished_runs(study: LabelStudy, inputs: StudyInputs, repository: Path) -> list[Run]:
    """Return the runs whose metrics exist and match these settings."""
    steps = {
        run: (
            training_step(study, inputs, run, repository),
            evaluation_step(study, inputs, run, repository),
        )
        for run in study.runs
    }
    done = completed_steps(
        [step for pair in steps.values() for step in pair], study.work_dir, repository=repository
    )
    return [run for run, pair in steps.items() if all(step.name in done for step in pair)]


def training_step(study: LabelStudy, inputs: StudyInputs, run: Run, repository: Path) -> Step:
    """Return the step that trains a run's detector on its fraction of the labels."""
    if run.backbone is None:
        # Disable any checkpoint that the config would load itself.
        weights: Sequence[str] = ("backbone_checkpoint=None", "model.backbone.init_cfg=None")
        reads: Sequence[str] = ()
    else:
        file = relative_path(run.backbone, repository)
        weights, reads = (format_option("backbone_checkpoint", file),), (file,)
    count = inputs.counts[run.fraction, run.seed]
    return train_step(
        f"train-{run.name}",
        f"Train from {run.init.name} with {describe(run.fraction, count)}, seed {run.seed}",
        relative_path(study.config, repository),
        study.work_dir / run.name,
        iterations=study.iterations,
        seed=run.seed,
        options=(
            *(option for option in study.options if not option.startswith(EVALUATION)),
            skip_validation(study.iterations),
            *inputs.train_options(run.fraction, run.seed),
            *weights,
        ),
        reads=(
            *(
                relative_path(path, repository)
                for path in inputs.train_files(run.fraction, run.seed)
            ),
            *reads,
        ),
    )


def evaluation_step(study: LabelStudy, inputs: StudyInputs, run: Run, repository: Path) -> Step:
    """Return the step that evaluates a run's detector on all frames of the validation split."""
    checkpoint = last_checkpoint(study.work_dir / run.name, study.iterations)
    return evaluate_step(
        f"test-{run.name}",
        f"Evaluate {run.init.name} with {100 * run.fraction:g} % of the labels, seed {run.seed}",
        relative_path(study.config, repository),
        checkpoint,
        study.metrics_path(run),
        work_dir=study.work_dir / f"{run.name}.test",
        options=(
            *(option for option in study.options if not option.startswith("val_")),
            *inputs.test_options(),
        ),
        reads=tuple(relative_path(path, repository) for path in (*inputs.test_files(), checkpoint)),
    )


def describe(fraction: float, count: LabelCount) -> str:
    """Describe a label fraction in words."""
    return f"{100 * fraction:g} % of the labels ({count.frames} frames, {count.boxes} boxes)"
