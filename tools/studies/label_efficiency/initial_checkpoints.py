"""A check of the initial checkpoints before hours of runs that would fail on them."""

from __future__ import annotations

from pathlib import Path

from drivemim.config.building import build_model
from drivemim.config.loading import load_config
from drivemim.errors import CheckpointError, ConfigError
from drivemim.transfer.exporting import load_weights
from studies.label_efficiency.inputs import parse_options
from studies.label_efficiency.settings import LabelStudy


def check_checkpoints(study: LabelStudy, repository: Path) -> None:
    """Load the backbone of every initialisation into the detector, like its runs.

    Args:
        study: settings of the study.
        repository: folder that paths are relative to.

    Raises:
        CheckpointError: if a backbone is damaged or does not fit the detector, with its name.
        ConfigError: if the config's model cannot be built, or has no backbone.
    """
    initialisations = {run.backbone: run.init for run in study.runs if run.backbone is not None}
    if not initialisations:
        return
    config = load_config(repository / study.config, parse_options(study.options))
    if "backbone" not in config.model:
        raise ConfigError(f"{study.config}: the model has no backbone, so no --init can start it")
    detector = build_model(config, study.config)
    for path, init in initialisations.items():
        try:
            load_weights(detector, repository / path, architecture=config.model.backbone)
        except CheckpointError as error:
            raise CheckpointError(f"--init {init.name}: {error}") from error
