"""Settings of a label study: detector, initialisations, label fractions, data and seeds."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from pathlib import Path

from drivemim.errors import ConfigError

RANDOM = "random"
FRACTIONS = (0.01, 0.05, 0.1, 0.25, 1.0)
MEAN_AP50 = "drivemim/mAP50"
METRICS = (MEAN_AP50, "drivemim/pedestrian_AP50", "drivemim/vehicle_AP50")
# Miss rate, calibration error and the five errors of nuScenes, overall and in slices.
_LESS_IS_BETTER = re.compile(r"(_LAMR|_ECE|[m_]A[TSOVA]E(_present)?)(\[.*\])?$")
_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.+-]*")


@dataclass(frozen=True, kw_only=True)
class Initialisation:
    """A way to initialise a detector.

    Attributes:
        name: name in tables and file names.
        backbone: an exported backbone or any checkpoint that ``backbone_checkpoint`` accepts.
            ``{seed}`` in it is replaced by the run's seed, for one backbone per seed. None for
            random initialisation.
    """

    name: str
    backbone: Path | None

    @classmethod
    def parse(cls, text: str, folder: Path = Path()) -> Initialisation:
        """Parse ``random`` or ``NAME=FILE`` from the command line.

        Args:
            text: one of the two.
            folder: folder that ``FILE`` is relative to.

        Raises:
            ConfigError: if it is neither.
        """
        name, equals, file = text.partition("=")
        is_complete = not equals if name == RANDOM else bool(file)
        if not _NAME.fullmatch(name) or not is_complete:
            raise ConfigError(
                f"--init {text}: give {RANDOM}, or NAME=FILE with a name of letters, digits, '_', "
                f"'-', '+' and '.' that is not {RANDOM}"
            )
        return cls(name=name, backbone=folder / file if file else None)


@dataclass(frozen=True, kw_only=True)
class Run:
    """One detector, trained and evaluated once."""

    init: Initialisation
    fraction: float
    seed: int

    @property
    def name(self) -> str:
        """Name of the run's files."""
        return f"{self.init.name}-{self.fraction}-{self.seed}"

    @property
    def backbone(self) -> Path | None:
        """Backbone file of the run, if any."""
        if self.init.backbone is None:
            return None
        return Path(str(self.init.backbone).replace("{seed}", str(self.seed)))


@dataclass(frozen=True, kw_only=True)
class LabelStudy:
    """Settings of a label study.

    Attributes:
        config: config of the detector; its training data is a ``drivemim.FrameDetection``.
        index: index of the labelled frames.
        train: split that labels are taken from.
        val: split that every run is evaluated on.
        initialisations: the first is the baseline.
        iterations: iterations of every run.
        work_dir: folder for all output.
        fractions: label fractions.
        seeds: seeds of the runs; a seed selects the subset of labels and seeds the training.
        options: ``KEY=VALUE`` overrides of the config, the same for every run.
        metrics: metrics where higher is better, named as in the JSON file of ``tools/test.py``; the
            headline is about the first.
        allow_boxes_read: run, and mark, initialisations whose pretraining read boxes of more
            frames than the run is trained on, or of ``val``.
        transductive: run, and mark, initialisations whose pretraining saw images of ``val``.

    Raises:
        ConfigError: if there is nothing to compare, a value is repeated, or a setting is invalid.
    """

    config: Path
    index: Path
    train: str
    val: str
    initialisations: tuple[Initialisation, ...]
    iterations: int
    work_dir: Path
    fractions: tuple[float, ...] = FRACTIONS
    seeds: tuple[int, ...] = (0, 1, 2)
    options: tuple[str, ...] = ()
    metrics: tuple[str, ...] = METRICS
    allow_boxes_read: bool = False
    transductive: bool = False

    def __post_init__(self) -> None:
        names = [init.name for init in self.initialisations]
        for what, values in (
            ("init", names),
            ("fractions", self.fractions),
            ("seeds", self.seeds),
            ("metric", self.metrics),
        ):
            if not values:
                raise ConfigError(f"--{what}: give at least one")
            if len(set(values)) < len(values):
                raise ConfigError(f"--{what}: one is given twice in {', '.join(map(str, values))}")
        for fraction in self.fractions:
            if math.isnan(fraction) or not 0 < fraction <= 1:
                raise ConfigError(
                    f"--fractions {fraction}: a fraction is above 0 and up to 1 (all labels)"
                )
        if min(self.seeds) < 0:
            raise ConfigError(f"--seeds {min(self.seeds)}: a seed is 0 or above")
        if self.train == self.val:
            raise ConfigError(
                f"--train and --val are both {self.train}: runs would be evaluated on training "
                "frames"
            )
        for metric in self.metrics:
            if _LESS_IS_BETTER.search(metric):
                raise ConfigError(
                    f"--metric {metric}: lower is better for this metric; the study needs metrics "
                    "where higher is better"
                )
        if self.iterations < 1:
            raise ConfigError(f"--iterations {self.iterations}: a run has at least one")

    @property
    def runs(self) -> list[Run]:
        """All runs, ordered by seed, so that an incomplete study can already be compared."""
        return [
            Run(init=init, fraction=fraction, seed=seed)
            for seed in self.seeds
            for fraction in sorted(self.fractions)
            for init in self.initialisations
        ]

    def metrics_path(self, run: Run) -> Path:
        """Return the path of a run's metrics, a JSON file."""
        return self.work_dir / f"{run.name}.json"
