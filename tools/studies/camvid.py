"""CamVid study: pretraining on real frames against random initialisation, three seeds.

Pretraining uses the images of CamVid's ``train`` and unlabelled frames. It never sees those of
``val``, on which detectors are evaluated.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from drivemim.evaluation.results_file import read_results, results_json
from drivemim.files import write_bytes
from studies.tables import mean_and_deviation
from workflow.commands import (
    evaluate_step,
    export_step,
    index_step,
    last_checkpoint,
    train_step,
    without_validation,
)
from workflow.steps import Stage, Step

PRETRAIN_CONFIG = "tools/studies/configs/pretrain/vit_micro_tube_camvid.py"
DETECTOR_CONFIG = "tools/studies/configs/detection/atss_vit_micro_camvid.py"
# The configs read the study's indices from this folder.
WORK_DIR = Path("work_dirs/study-camvid")
ARMS = {"pretrained": "pretrained backbone", "random": "random initialisation"}
METRICS = ("mAP", "mAP50", "vehicle_AP", "vehicle_AP50", "pedestrian_AP", "pedestrian_AP50")


@dataclass(frozen=True, kw_only=True)
class StudySettings:
    """Budget of the study.

    Attributes:
        pretrain_iterations: batches of 16 clips of 2 frames.
        finetune_iterations: batches of 8 frames, the same for both arms.
        seeds: seeds of fine-tuning; both arms are run with each seed.
    """

    pretrain_iterations: int = 2400
    finetune_iterations: int = 300
    seeds: tuple[int, ...] = (0, 1, 2)


def make_plan(settings: StudySettings, data: Path) -> list[Stage]:
    """Return the study's stages, in order; the arms of one seed run in parallel, sharing the cores.

    Args:
        settings: the budget.
        data: folder with ``camvid``, ``frames`` and ``surround-clips``, with the layout described
            in ``data/README.md``.
    """
    iterations = settings.pretrain_iterations
    backbone = WORK_DIR / "backbone.safetensors"
    stages: list[Stage] = [
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
        stages.append(tuple(_finetune_step(arm, seed, settings, backbone) for arm in ARMS))
        stages.append(tuple(_test_step(arm, seed, settings) for arm in ARMS))
    return stages


def write_table(settings: StudySettings, out: Path) -> str:
    """Collect the results of all runs: mean and standard deviation over seeds, as Markdown.

    Args:
        settings: budget of the runs.
        out: folder of the results, where ``results.json`` is written.

    Returns:
        The table.
    """
    results = {
        arm: [read_results(out / f"{arm}-{seed}.json") for seed in settings.seeds] for arm in ARMS
    }
    write_bytes(out / "results.json", results_json(results))
    return table_of(results)


def table_of(results: Mapping[str, Sequence[Mapping[str, float]]]) -> str:
    """Format a Markdown table of percentages: one row per metric, a column per arm, the difference.

    Args:
        results: metrics of every seed for each arm, in the same order of seeds.
    """
    lines = [
        f"| AP in % | {' | '.join(ARMS[arm] for arm in results)} | difference |",
        f"|---|{'---|' * (len(results) + 1)}",
    ]
    for metric in METRICS:
        arms = [[100 * run[f"drivemim/{metric}"] for run in runs] for runs in results.values()]
        paired = [first - second for first, second in zip(*arms, strict=True)]
        cells = [mean_and_deviation(values) for values in arms]
        change = mean_and_deviation(paired, sign="+")
        lines.append(f"| {metric.replace('_', ' ')} | {' | '.join(cells)} | {change} |")
    return "\n".join(lines)


def _index_steps(data: Path) -> Stage:
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


def _finetune_step(arm: str, seed: int, settings: StudySettings, backbone: Path) -> Step:
    index = WORK_DIR / "camvid.arrow"
    start = (f"backbone_checkpoint={backbone}",) if arm == "pretrained" else ()
    return train_step(
        f"finetune-{arm}-{seed}",
        f"Fine-tune a detector from {ARMS[arm]}, seed {seed}",
        DETECTOR_CONFIG,
        WORK_DIR / f"finetune-{arm}-{seed}",
        iterations=settings.finetune_iterations,
        seed=seed,
        options=(
            without_validation(settings.finetune_iterations),
            f"train_dataloader.dataset.dataset.index={index}",
            f"val_dataloader.dataset.index={index}",
            *start,
        ),
    )


def _test_step(arm: str, seed: int, settings: StudySettings) -> Step:
    run = WORK_DIR / f"finetune-{arm}-{seed}"
    return evaluate_step(
        f"test-{arm}-{seed}",
        f"Evaluate the detector from {ARMS[arm]}, seed {seed}",
        DETECTOR_CONFIG,
        last_checkpoint(run, settings.finetune_iterations),
        WORK_DIR / f"{arm}-{seed}.json",
        work_dir=WORK_DIR / "test" / f"{arm}-{seed}",
        options=(f"test_dataloader.dataset.index={WORK_DIR / 'camvid.arrow'}",),
    )
