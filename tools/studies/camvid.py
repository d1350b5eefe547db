"""CamVid study: pretraining on real frames against random initialisation, three seeds.

Pretraining uses the images of CamVid's ``train`` and unlabelled frames. It never sees those of
``val``, on which detectors are evaluated.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from drivemim.evaluation.results_file import read_metrics, results_json
from drivemim.files import write_bytes
from studies.table_format import mean_and_deviation
from workflow.commands import (
    evaluate_step,
    export_step,
    index_step,
    last_checkpoint,
    skip_validation,
    train_step,
)
from workflow.steps import Group, Step

PRETRAIN_CONFIG = "tools/studies/configs/pretrain/vit_micro_tube_camvid.py"
DETECTOR_CONFIG = "tools/studies/configs/detection/atss_vit_micro_camvid.py"
# The configs read the study's indices from this folder.
WORK_DIR = Path("work_dirs/study-camvid")
INITS = {"pretrained": "pretrained backbone", "random": "random initialisation"}
METRICS = ("mAP", "mAP50", "vehicle_AP", "vehicle_AP50", "pedestrian_AP", "pedestrian_AP50")


@dataclass(frozen=True, kw_only=True)
class StudySettings:
    """Budget of the study.

    Attributes:
        pretrain_iterations: batches of 16 clips of 2 frames.
        finetune_iterations: batches of 8 frames, the same for both initialisations.
        seeds: seeds of fine-tuning; both are run with each seed.
    """

    pretrain_iterations: int = 2400
    finetune_iterations: int = 300
    seeds: tuple[int, ...] = (0, 1, 2)


def plan_camvid_study(settings: StudySettings, data: Path) -> list[Group]:
    """Return the study's groups, in order; both initialisations of a seed run in parallel.

    Args:
        settings: the budget.
        data: folder with ``camvid``, ``frames`` and ``surround-clips``, with the layout described
            in ``data/README.md``.
    """
    iterations = settings.pretrain_iterations
    backbone = WORK_DIR / "backbone.safetensors"
    groups: list[Group] = [
        _index_steps(data),
        (
            train_step(
                "pretrain",
                "Pretrain a backbone on the frames of train and unlabelled ones, without labels",
                PRETRAIN_CONFIG,
                WORK_DIR / "pretrain",
                iterations=iterations,
                seed=0,
            ),
        ),
        (
            export_step(
                "export",
                "Export the backbone",
                last_checkpoint(WORK_DIR / "pretrain", iterations),
                backbone,
            ),
        ),
    ]
    for seed in settings.seeds:
        groups.append(tuple(_finetune_step(init, seed, settings, backbone) for init in INITS))
        groups.append(tuple(_test_step(init, seed, settings) for init in INITS))
    return groups


def write_table(settings: StudySettings, out: Path) -> str:
    """Collect the results of all runs: mean and standard deviation over seeds, as Markdown.

    Args:
        settings: budget of the runs.
        out: folder of the results, where ``results.json`` is written.

    Returns:
        The table.
    """
    results = {
        init: [read_metrics(out / f"{init}-{seed}.json") for seed in settings.seeds]
        for init in INITS
    }
    write_bytes(out / "results.json", results_json(results))
    return table_of(results)


def table_of(results: Mapping[str, Sequence[Mapping[str, float]]]) -> str:
    """Format a Markdown table of percentages: one row per metric, a column per initialisation.

    Args:
        results: metrics of every seed for each initialisation, in the same order of seeds.
    """
    lines = [
        f"| AP in % | {' | '.join(INITS[init] for init in results)} | difference |",
        f"|---|{'---|' * (len(results) + 1)}",
    ]
    for metric in METRICS:
        inits = [[100 * run[f"drivemim/{metric}"] for run in runs] for runs in results.values()]
        paired = [first - second for first, second in zip(*inits, strict=True)]
        cells = [mean_and_deviation(values) for values in inits]
        change = mean_and_deviation(paired, sign="+")
        lines.append(f"| {metric.replace('_', ' ')} | {' | '.join(cells)} | {change} |")
    return "\n".join(lines)


def _index_steps(data: Path) -> Group:
    camvid = data / "camvid"
    train = ("--root", f"{camvid}", "--coco", f"{camvid}/train.json", "--rate", "30")
    rig = ("--root", f"{data / 'surround-clips'}", "--version", "v1.0-mini")
    return (
        index_step(
            "index-frames",
            "Index the single-camera frames to pretrain on",
            "frames",
            WORK_DIR / "frames.arrow",
            # A folder with a COCO file contributes only the listed images: no frame of val.
            (*train, "--root", f"{data / 'frames'}"),
        ),
        index_step(
            "index-surround",
            "Index the surround rig",
            "nuscenes",
            WORK_DIR / "surround.arrow",
            rig,
        ),
        index_step(
            "index-camvid",
            "Index CamVid's boxes",
            "frames",
            WORK_DIR / "camvid.arrow",
            (*train, "--coco", f"{camvid}/val.json"),
        ),
    )


def _finetune_step(init: str, seed: int, settings: StudySettings, backbone: Path) -> Step:
    index = WORK_DIR / "camvid.arrow"
    start = (f"backbone_checkpoint={backbone}",) if init == "pretrained" else ()
    return train_step(
        f"finetune-{init}-{seed}",
        f"Fine-tune a detector from {INITS[init]}, seed {seed}",
        DETECTOR_CONFIG,
        WORK_DIR / f"finetune-{init}-{seed}",
        iterations=settings.finetune_iterations,
        seed=seed,
        options=(
            skip_validation(settings.finetune_iterations),
            f"train_dataloader.dataset.dataset.index={index}",
            f"val_dataloader.dataset.index={index}",
            *start,
        ),
    )


def _test_step(init: str, seed: int, settings: StudySettings) -> Step:
    run = WORK_DIR / f"finetune-{init}-{seed}"
    return evaluate_step(
        f"test-{init}-{seed}",
        f"Evaluate the detector from {INITS[init]}, seed {seed}",
        DETECTOR_CONFIG,
        last_checkpoint(run, settings.finetune_iterations),
        WORK_DIR / f"{init}-{seed}.json",
        work_dir=WORK_DIR / "test" / f"{init}-{seed}",
        options=(f"test_dataloader.dataset.index={WORK_DIR / 'camvid.arrow'}",),
    )
