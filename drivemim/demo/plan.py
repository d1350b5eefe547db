"""What the demo does: its settings in one place, its steps as the commands a user would type."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from drivemim.steps import Stage, Step, run_length

PRETRAIN_CONFIG = "configs/pretrain/vit-micro_object_town.py"
DETECTOR_CONFIG = "configs/detection/atss_vit_micro_town.py"
ARMS = {"pretrained": "the pretrained backbone", "random": "random initialisation"}
# The configs read the demo's index from here.
DEFAULT_WORK_DIR = Path("work_dirs/demo")

# Sources that a step depends on besides the steps before it.
TOWN = ("drivemim/datasets/town", "drivemim/geometry", "tools/generate_town.py")
INDEX = ("drivemim/datasets", "tools/create_index.py")
TRAINING = (
    "drivemim/datasets",
    "drivemim/engine",
    "drivemim/geometry",
    "drivemim/masking",
    "drivemim/models",
    "drivemim/clips.py",
    "configs",
    "tools/train.py",
)


@dataclass(frozen=True, kw_only=True)
class DemoSettings:
    """How much of everything; the defaults take about ten minutes on two cores.

    Attributes:
        scenes: of the town; at least 6 for two in ``mini_val``.
        seconds: length of a scene.
        sweep_rate: images a second of every camera.
        image_size: height and width of the town's images, pixels.
        pedestrians: in a scene.
        vehicles: in a scene.
        pretrain_iterations: batches that the backbone is pretrained for.
        finetune_iterations: batches that each detector is fine-tuned for.
        seed: of the town and of every training.
        pictures: clips drawn in the report.
    """

    scenes: int = 10
    seconds: float = 8.0
    sweep_rate: float = 4.0
    image_size: tuple[int, int] = (450, 800)
    pedestrians: int = 40
    vehicles: int = 34
    pretrain_iterations: int = 600
    finetune_iterations: int = 240
    seed: int = 0
    pictures: int = 4

    @classmethod
    def quick(cls) -> DemoSettings:
        """Every step, on next to nothing: shows that it runs, not what it can do."""
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
        )


def make_plan(settings: DemoSettings, work_dir: Path = DEFAULT_WORK_DIR) -> list[Stage]:
    """The stages of the demo, in order.

    Args:
        settings: how much of everything.
        work_dir: folder for everything that is written, relative to the repository or absolute.
    """
    index = work_dir / "town.arrow"
    pretrain = work_dir / "pretrain"
    checkpoint = pretrain / f"iter_{settings.pretrain_iterations}.pth"
    backbone = work_dir / "backbone.safetensors"
    train_index = f"train_dataloader.dataset.dataset.index={index}"
    moved = () if work_dir == DEFAULT_WORK_DIR else (train_index,)
    return [
        (_town_step(settings, work_dir),),
        (
            Step(
                name="index",
                title="Index its frames and boxes",
                command=("tools/create_index.py", "nuscenes", "--root", f"{work_dir / 'town'}")
                + ("--version", "v1.0-mini", "--out", f"{index}"),
                reads=INDEX,
                writes=(index,),
            ),
        ),
        (
            Step(
                name="pretrain",
                title="Pretrain a backbone without labels",
                command=("tools/train.py", PRETRAIN_CONFIG, "--work-dir", f"{pretrain}")
                + ("--resume", "--seed", f"{settings.seed}", "--cfg-options")
                + (*run_length(settings.pretrain_iterations), *moved),
                reads=TRAINING,
                writes=(checkpoint,),
            ),
        ),
        (
            Step(
                name="export",
                title="Export the backbone",
                command=("tools/export_backbone.py", f"{checkpoint}", f"{backbone}"),
                reads=("drivemim/engine", "drivemim/models", "tools/export_backbone.py"),
                writes=(backbone,),
            ),
        ),
        tuple(_finetune_step(arm, settings, work_dir) for arm in ARMS),
        tuple(_test_step(arm, settings, work_dir) for arm in ARMS),
        (
            Step(
                name="pictures",
                title="Draw masks and reconstructions of scenes it was not trained on",
                command=("tools/visualize.py", PRETRAIN_CONFIG, f"{checkpoint}")
                + ("--out", f"{work_dir / 'pictures'}", "--clips", f"{settings.pictures}")
                + ("--scenes", "mini_val", *(("--cfg-options", *moved) if moved else ())),
                reads=("drivemim/visualization", "tools/visualize.py"),
                writes=tuple(
                    work_dir / "pictures" / f"{kind}-{number}.jpg"
                    for number in range(settings.pictures)
                    for kind in ("clip", "reconstruction")
                ),
            ),
        ),
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
        reads=TOWN,
        writes=(work_dir / "town" / "v1.0-mini" / "sample_data.json",),
    )


def _finetune_step(arm: str, settings: DemoSettings, work_dir: Path) -> Step:
    run = work_dir / f"finetune-{arm}"
    backbone = work_dir / "backbone.safetensors"
    start = (f"backbone_checkpoint={backbone}",) if arm == "pretrained" else ()
    index = work_dir / "town.arrow"
    moved = (
        ()
        if work_dir == DEFAULT_WORK_DIR
        else (
            f"train_dataloader.dataset.dataset.index={index}",
            f"val_dataloader.dataset.index={index}",
        )
    )
    return Step(
        name=f"finetune-{arm}",
        title=f"Fine-tune a detector from {ARMS[arm]}",
        command=(
            *("tools/train.py", DETECTOR_CONFIG, "--work-dir", f"{run}", "--resume"),
            *("--seed", f"{settings.seed}", "--cfg-options"),
            *run_length(settings.finetune_iterations),
            # Evaluated by the next step, once and not twice.
            f"train_cfg.val_begin={settings.finetune_iterations + 1}",
            *start,
            *moved,
        ),
        reads=TRAINING,
        writes=(run / f"iter_{settings.finetune_iterations}.pth",),
    )


def _test_step(arm: str, settings: DemoSettings, work_dir: Path) -> Step:
    checkpoint = work_dir / f"finetune-{arm}" / f"iter_{settings.finetune_iterations}.pth"
    out = work_dir / f"results-{arm}.json"
    moved = f"test_dataloader.dataset.index={work_dir / 'town.arrow'}"
    return Step(
        name=f"test-{arm}",
        title=f"Evaluate the detector that began from {ARMS[arm]}",
        command=(
            *("tools/test.py", DETECTOR_CONFIG, f"{checkpoint}", "--out", f"{out}"),
            *("--work-dir", f"{work_dir / f'test-{arm}'}"),
            *(() if work_dir == DEFAULT_WORK_DIR else ("--cfg-options", moved)),
        ),
        reads=("drivemim/datasets", "drivemim/evaluation", "drivemim/models", "tools/test.py"),
        writes=(out,),
    )
