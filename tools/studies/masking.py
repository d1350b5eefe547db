"""Masking study: six mask strategies on the town and on CamVid, three seeds, one backbone.

Pretraining uses no image of the splits that backbones are evaluated on. Object masks read the boxes
of the whole training split, which probes and detectors learn from as well.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from workflow.commands import (
    evaluate_step,
    export_step,
    index_step,
    last_checkpoint,
    skip_validation,
    train_step,
)
from workflow.steps import Group, Step

WORK_DIR = Path("work_dirs/study-masking")
CONFIGS = "tools/studies/configs"
BASELINE = "random"
RECIPES = {
    BASELINE: "random patches",
    "tube": "tube",
    "world": "world tube + overlap",
    "object": "object-aware",
    "loss-guided": "loss-guided",
    "mixture": "full mixture",
}
UNTRAINED = "untrained"
PROBES = ("linear", "knn")
SIDE_BY_SIDE = 2

# A ViT of 1.2 M parameters, so that a run takes minutes.
ENCODER = {"embed_dims": 128, "depth": 6, "num_heads": 4}
# Clips have 2 times x 3 cameras in the town, otherwise 2 times of one camera.
BATCH_SIZES = {"town": 2, "camvid": 8}


@dataclass(frozen=True, kw_only=True)
class Source:
    """Data that backbones are pretrained and evaluated on.

    Attributes:
        name: name, with which the names of the configs end.
        title: name for tables.
        train: split that probes and detectors learn from.
        val: split that they are evaluated on.
        detector: path of the detector config.
        cameras: cameras of the probes; empty for all.
    """

    name: str
    title: str
    train: str
    val: str
    detector: str
    cameras: tuple[str, ...] = ()

    @property
    def index(self) -> Path:
        """Index of the labelled frames."""
        return WORK_DIR / f"{self.name}.arrow"

    def config(self, recipe: str) -> str:
        """Return the pretraining config of a recipe."""
        return f"{CONFIGS}/pretrain/vit_micro_{recipe.replace('-', '_')}_{self.name}.py"


SOURCES = (
    Source(
        name="town",
        title="generated town",
        train="mini_train",
        val="mini_val",
        detector=f"{CONFIGS}/detection/atss_vit_micro_all_town.py",
        cameras=("CAM_FRONT_LEFT", "CAM_FRONT", "CAM_FRONT_RIGHT"),
    ),
    Source(
        name="camvid",
        title="CamVid",
        train="train",
        val="val",
        detector=f"{CONFIGS}/detection/atss_vit_micro_camvid.py",
    ),
)


@dataclass(frozen=True, kw_only=True)
class StudySettings:
    """Budget of the study, the same for every recipe.

    Attributes:
        pretrain_iterations: iterations by source, with ``BATCH_SIZES`` clips each.
        finetune_iterations: iterations by source, with 8 frames each.
        seeds: seeds; each is used for pretraining, probe and fine-tuning.
    """

    pretrain_iterations: Mapping[str, int]
    finetune_iterations: Mapping[str, int]
    seeds: tuple[int, ...] = (0, 1, 2)


DEFAULT_SETTINGS = StudySettings(
    pretrain_iterations={"town": 440, "camvid": 340},
    finetune_iterations={"town": 120, "camvid": 160},
)


def index_plan(data: Path) -> list[Group]:
    """Return the groups that generate the town and index all data.

    Args:
        data: folder with ``camvid``, ``frames`` and ``surround-clips``: see ``data/README.md``.
    """
    camvid, town = data / "camvid", WORK_DIR / "town"
    rig = ("--root", f"{data / 'surround-clips'}", "--version", "v1.0-mini")
    train = ("--root", f"{camvid}", "--coco", f"{camvid / 'train.json'}")
    return [
        (
            Step(
                name="town",
                title="Generate a town and drive through it",
                command=(
                    *("tools/generate_town.py", "--out", f"{town}", "--scenes", "10"),
                    *("--seconds", "8", "--sweep-rate", "4", "--image-size", "450", "800"),
                    *("--pedestrians", "40", "--vehicles", "34", "--seed", "0"),
                ),
                writes=(town / "v1.0-mini" / "sample_data.json",),
            ),
        ),
        (
            index_step(
                "index-town",
                "Index the town",
                "nuscenes",
                WORK_DIR / "town.arrow",
                ("--root", f"{town}", "--version", "v1.0-mini"),
            ),
            index_step(
                "index-surround",
                "Index the surround rig",
                "nuscenes",
                WORK_DIR / "surround.arrow",
                rig,
            ),
            index_step(
                "index-frames",
                "Index the single-camera frames to pretrain on, CamVid's train with its boxes",
                "frames",
                WORK_DIR / "frames.arrow",
                # A folder with a COCO file contributes only the listed images: no frame of val.
                (*train, "--root", f"{data / 'frames'}", "--rate", "30"),
            ),
            index_step(
                "index-camvid",
                "Index CamVid with its boxes",
                "frames",
                WORK_DIR / "camvid.arrow",
                (*train, "--coco", f"{camvid / 'val.json'}", "--rate", "30"),
            ),
        ),
    ]


def probe_plan(settings: StudySettings) -> list[Group]:
    """Return the groups that pretrain and probe every recipe, two at a time, seed by seed."""
    steps: list[tuple[Step, Step]] = []
    untrained: list[Step] = []
    for seed in settings.seeds:
        for source in SOURCES:
            untrained.append(_probe_step(source, UNTRAINED, seed, settings))
            steps += [
                (_pretrain_step(source, recipe, seed, settings),
                 _probe_step(source, recipe, seed, settings))
                for recipe in RECIPES
            ]  # fmt: skip
    groups: list[Group] = _together(untrained)
    for at in range(0, len(steps), SIDE_BY_SIDE):
        pretrain, probe = zip(*steps[at : at + SIDE_BY_SIDE], strict=True)
        groups += [pretrain, probe]
    return groups


def detector_plan(settings: StudySettings, best: Mapping[str, str]) -> list[Group]:
    """Return the groups that export, fine-tune and evaluate the random recipe and the best one.

    Args:
        settings: the budget.
        best: the best recipe of each source.
    """
    runs = [
        (source, recipe, seed, settings)
        for seed in settings.seeds
        for source in SOURCES
        for recipe in detector_recipes(best[source.name])
    ]
    groups = _together([_export_step(*run) for run in runs])
    for at in range(0, len(runs), SIDE_BY_SIDE):
        together = runs[at : at + SIDE_BY_SIDE]
        groups.append(tuple(_finetune_step(*run) for run in together))
        groups.append(tuple(_test_step(*run) for run in together))
    return groups


def detector_recipes(best: str) -> list[str]:
    """Return the recipes that detectors are trained from."""
    return [BASELINE, best]


def _together(steps: Sequence[Step]) -> list[Group]:
    return [tuple(steps[at : at + SIDE_BY_SIDE]) for at in range(0, len(steps), SIDE_BY_SIDE)]


def run_name(source: Source, recipe: str, seed: int) -> str:
    """Return the name of a run, used for its files and folders."""
    return f"{source.name}-{recipe}-{seed}"


def _checkpoint(source: Source, recipe: str, seed: int, settings: StudySettings) -> Path:
    run = WORK_DIR / "pretrain" / run_name(source, recipe, seed)
    return last_checkpoint(run, settings.pretrain_iterations[source.name])


def _pretrain_step(source: Source, recipe: str, seed: int, settings: StudySettings) -> Step:
    dataset = "train_dataloader.dataset"
    indices = {
        "town": (f"{dataset}.index={WORK_DIR / 'town.arrow'}",),
        "camvid": (
            f"{dataset}.datasets.0.index={WORK_DIR / 'frames.arrow'}",
            f"{dataset}.datasets.1.index={WORK_DIR / 'surround.arrow'}",
        ),
    }
    return train_step(
        f"pretrain-{run_name(source, recipe, seed)}",
        f"Pretrain on {source.title}, {RECIPES[recipe]}, seed {seed}",
        source.config(recipe),
        WORK_DIR / "pretrain" / run_name(source, recipe, seed),
        iterations=settings.pretrain_iterations[source.name],
        seed=seed,
        options=(
            *_encoder_options("model.encoder"),
            *indices[source.name],
            f"train_dataloader.batch_size={BATCH_SIZES[source.name]}",
            # Each run has one core, so a separate loading process would only compete for it.
            "train_dataloader.num_workers=0",
            "train_dataloader.persistent_workers=False",
        ),
    )


def _probe_step(source: Source, recipe: str, seed: int, settings: StudySettings) -> Step:
    out = WORK_DIR / f"probe-{run_name(source, recipe, seed)}.json"
    checkpoint = (
        ()
        if recipe == UNTRAINED
        else ("--checkpoint", f"{_checkpoint(source, recipe, seed, settings)}")
    )
    return Step(
        name=f"probe-{run_name(source, recipe, seed)}",
        title=f"Probe on {source.title}: {RECIPES.get(recipe, 'untrained backbone')}, seed {seed}",
        command=(
            *("tools/probe.py", source.config(BASELINE if recipe == UNTRAINED else recipe)),
            *(*checkpoint, "--index", f"{source.index}", "--train", source.train),
            *("--val", source.val, "--seed", f"{seed}", "--out", f"{out}"),
            *(("--cameras", *source.cameras) if source.cameras else ()),
            *("--cfg-options", *_encoder_options("model.encoder")),
        ),
        writes=(out,),
    )


def _backbone(source: Source, recipe: str, seed: int) -> Path:
    return WORK_DIR / "backbones" / f"{run_name(source, recipe, seed)}.safetensors"


def _export_step(source: Source, recipe: str, seed: int, settings: StudySettings) -> Step:
    checkpoint = _checkpoint(source, recipe, seed, settings)
    return export_step(
        f"export-{run_name(source, recipe, seed)}",
        f"Export the backbone of {source.title}, {RECIPES[recipe]}, seed {seed}",
        checkpoint,
        _backbone(source, recipe, seed),
        # This plan runs separately and would not notice that the pretraining was repeated.
        reads=(f"{checkpoint}",),
    )


def _finetune_step(source: Source, recipe: str, seed: int, settings: StudySettings) -> Step:
    iterations = settings.finetune_iterations[source.name]
    start = f"backbone_checkpoint={_backbone(source, recipe, seed)}"
    return train_step(
        f"finetune-{run_name(source, recipe, seed)}",
        f"Fine-tune a detector on {source.title}: {RECIPES[recipe]}, seed {seed}",
        source.detector,
        WORK_DIR / "finetune" / run_name(source, recipe, seed),
        iterations=iterations,
        seed=seed,
        options=(
            skip_validation(iterations),
            f"train_dataloader.dataset.dataset.index={source.index}",
            f"val_dataloader.dataset.index={source.index}",
            *_detector_options(),
            start,
        ),
    )


def _test_step(source: Source, recipe: str, seed: int, settings: StudySettings) -> Step:
    run = WORK_DIR / "finetune" / run_name(source, recipe, seed)
    return evaluate_step(
        f"test-{run_name(source, recipe, seed)}",
        f"Evaluate the detector on {source.title}: {RECIPES[recipe]}, seed {seed}",
        source.detector,
        last_checkpoint(run, settings.finetune_iterations[source.name]),
        WORK_DIR / f"detector-{run_name(source, recipe, seed)}.json",
        work_dir=WORK_DIR / "test" / run_name(source, recipe, seed),
        options=(f"test_dataloader.dataset.index={source.index}", *_detector_options()),
    )


def _encoder_options(prefix: str) -> tuple[str, ...]:
    return tuple(f"{prefix}.{name}={value}" for name, value in ENCODER.items())


def _detector_options() -> tuple[str, ...]:
    width = f"model.neck.in_channels={ENCODER['embed_dims']}"
    return (*_encoder_options("model.backbone"), width)
