"""The demo's settings, and its steps as the commands that a user would type."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from drivemim.config.option_values import format_option
from workflow.commands import (
    EXPORT_SOURCES,
    INDEX_SOURCES,
    TEST_SOURCES,
    TRAINING_SOURCES,
    evaluate_step,
    export_step,
    index_step,
    last_checkpoint,
    skip_validation,
    train_step,
)
from workflow.steps import Group, Step

PRETRAIN_CONFIG = "configs/pretrain/vit_micro_town.py"
DETECTOR_CONFIG = "configs/detection/atss_vit_micro_town.py"
INITS = {"pretrained": "the pretrained backbone", "random": "random initialisation"}
# The configs read the demo's index from this folder.
DEFAULT_WORK_DIR = Path("work_dirs/demo")

# Sources whose change makes the generated town stale.
TOWN_SOURCES = ("drivemim/town", "drivemim/generated.py", "drivemim/cli/town.py")


@dataclass(frozen=True, kw_only=True)
class DemoSettings:
    """Sizes and lengths of the demo. README.md says how long it takes.

    Attributes:
        scenes: number of scenes of the town; at least 6 to have two in ``mini_val``.
        seconds: length of a scene.
        sweep_rate: images per second and camera.
        image_size: height and width of the town's images, pixels.
        pedestrians: number per scene.
        vehicles: number per scene.
        pretrain_iterations: iterations of pretraining.
        finetune_iterations: iterations of fine-tuning each detector.
        seed: seed of the town and of every training.
        pictures: number of clips drawn in the report.
        detections: number of images on which the detections of both detectors are drawn.
    """

    scenes: int = 10
    seconds: float = 8.0
    sweep_rate: float = 4.0
    image_size: tuple[int, int] = (450, 800)
    pedestrians: int = 40
    vehicles: int = 34
    pretrain_iterations: int = 3400
    finetune_iterations: int = 400
    seed: int = 0
    pictures: int = 4
    detections: int = 6

    @property
    def is_meaningless(self) -> bool:
        """Whether training is too short to compare two detectors."""
        return self.pretrain_iterations < 100 or self.finetune_iterations < 100

    @classmethod
    def quick(cls) -> DemoSettings:
        """Return minimal settings that run every step; the results are meaningless."""
        return cls(
            scenes=2,
            seconds=1.5,
            sweep_rate=2.0,
            image_size=(225, 400),
            pedestrians=20,
            vehicles=16,
            pretrain_iterations=6,
            finetune_iterations=6,
            pictures=2,
            detections=2,
        )


def plan_demo(settings: DemoSettings, work_dir: Path = DEFAULT_WORK_DIR) -> list[Group]:
    """Return the groups of the demo, in order.

    Args:
        settings: sizes and lengths.
        work_dir: folder for all output, relative to the repository or absolute.
    """
    index = work_dir / "town.arrow"
    iterations = settings.pretrain_iterations
    checkpoint = last_checkpoint(work_dir / "pretrain", iterations)
    return [
        (_town_step(settings, work_dir),),
        (
            index_step(
                "index",
                "Index its frames and boxes",
                "nuscenes",
                index,
                ("--root", f"{work_dir / 'town'}", "--version", "v1.0-mini"),
                INDEX_SOURCES,
            ),
        ),
        (
            train_step(
                "pretrain",
                "Pretrain a backbone without labels",
                PRETRAIN_CONFIG,
                work_dir / "pretrain",
                iterations=iterations,
                seed=settings.seed,
                options=(
                    # A separate process reads images while the model computes.
                    "train_dataloader.num_workers=1",
                    "train_dataloader.persistent_workers=True",
                    *_index_options(work_dir, "train_dataloader.dataset"),
                ),
                reads=TRAINING_SOURCES,
            ),
        ),
        (
            export_step(
                "export",
                "Export the backbone",
                checkpoint,
                work_dir / "backbone.safetensors",
                EXPORT_SOURCES,
            ),
        ),
        tuple(_finetune_step(init, settings, work_dir) for init in INITS),
        tuple(_test_step(init, settings, work_dir) for init in INITS),
        (_pictures_step(checkpoint, settings, work_dir),),
    ]


def _town_step(settings: DemoSettings, work_dir: Path) -> Step:
    height, width = settings.image_size
    return Step(
        name="town",
        title="Generate a town and drive through it",
        command=(
            *("tools/generate_town.py", "--out", f"{work_dir / 'town'}"),
            *("--scenes", f"{settings.scenes}", "--seconds", f"{settings.seconds}"),
            *("--sweep-rate", f"{settings.sweep_rate}", "--image-size", f"{height}", f"{width}"),
            *("--pedestrians", f"{settings.pedestrians}", "--vehicles", f"{settings.vehicles}"),
            *("--seed", f"{settings.seed}"),
        ),
        reads=TOWN_SOURCES,
        writes=(work_dir / "town",),
    )


def _finetune_step(init: str, settings: DemoSettings, work_dir: Path) -> Step:
    backbone = f"backbone_checkpoint={work_dir / 'backbone.safetensors'}"
    return train_step(
        f"finetune-{init}",
        f"Fine-tune a detector from {INITS[init]}",
        DETECTOR_CONFIG,
        work_dir / f"finetune-{init}",
        iterations=settings.finetune_iterations,
        seed=settings.seed,
        options=(
            skip_validation(settings.finetune_iterations),
            *((backbone,) if init == "pretrained" else ()),
            *_index_options(work_dir, "train_dataloader.dataset.dataset", "val_dataloader.dataset"),
        ),
        reads=TRAINING_SOURCES,
    )


def _test_step(init: str, settings: DemoSettings, work_dir: Path) -> Step:
    return evaluate_step(
        f"test-{init}",
        f"Evaluate the detector from {INITS[init]}",
        DETECTOR_CONFIG,
        last_checkpoint(work_dir / f"finetune-{init}", settings.finetune_iterations),
        work_dir / f"results-{init}.json",
        work_dir=work_dir / f"test-{init}",
        options=_index_options(work_dir, "test_dataloader.dataset"),
        reads=TEST_SOURCES,
        show_dir=work_dir / f"detections-{init}",
        show_count=settings.detections,
    )


def _pictures_step(checkpoint: Path, settings: DemoSettings, work_dir: Path) -> Step:
    options = _index_options(work_dir, "train_dataloader.dataset")
    folder = work_dir / "pictures"
    return Step(
        name="pictures",
        title="Draw masks and reconstructions of scenes that pretraining did not see",
        command=(
            *("tools/visualize.py", PRETRAIN_CONFIG, f"{checkpoint}", "--out", f"{folder}"),
            *("--clips", f"{settings.pictures}", "--scenes", "mini_val"),
            *(("--cfg-options", *options) if options else ()),
        ),
        reads=("drivemim/visualization", "drivemim/cli/visualize.py"),
        writes=tuple(
            folder / f"{kind}-{number}.jpg"
            for number in range(settings.pictures)
            for kind in ("clip", "reconstruction")
        ),
        folder=folder,
    )


def _index_options(work_dir: Path, *datasets: str) -> tuple[str, ...]:
    """Return options that set the index of data sets, none if the configs already have this one.

    Args:
        work_dir: folder of the demo, which contains the index.
        datasets: dotted config keys of the data sets.
    """
    if work_dir == DEFAULT_WORK_DIR:
        return ()
    index = f"{work_dir / 'town.arrow'}"
    return tuple(format_option(f"{dataset}.index", index) for dataset in datasets)
