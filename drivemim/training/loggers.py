"""Loggers that get the scalars and pictures of a run, besides its files and TensorBoard."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from importlib import import_module
from importlib.util import find_spec
from typing import Any

from mmengine.config import Config

from drivemim.config.nested import short_type
from drivemim.errors import ConfigError, did_you_mean

LOGGERS = {
    "aim": "AimVisBackend",
    "clearml": "ClearMLVisBackend",
    "dvclive": "DVCLiveVisBackend",
    "mlflow": "MLflowVisBackend",
    "neptune": "NeptuneVisBackend",
    "wandb": "WandbVisBackend",
}
"""MMEngine's class of each logger, by the name of the logger, which is also its package's."""


def add_loggers(cfg: Config, names: Sequence[str] = ()) -> None:
    """Add loggers to a config, in place; check that the packages of all its loggers are installed.

    A logger that the config has already keeps its settings.

    Args:
        cfg: config of a run, with its work directory.
        names: keys of ``LOGGERS``.

    Raises:
        ConfigError: for an unknown logger, or one whose package is not installed.
    """
    names = [names] if isinstance(names, str) else names
    for name in names:
        if name not in LOGGERS:
            raise ConfigError(
                f"--logger {name} is not one of {', '.join(LOGGERS)}{did_you_mean(name, LOGGERS)}"
            )
    visualizer = cfg.get("visualizer") or {"type": "Visualizer"}
    backends = list(visualizer.get("vis_backends") or [{"type": "LocalVisBackend"}])
    configured = {short_type(each) for each in backends if isinstance(each, Mapping)}
    for package, kind in LOGGERS.items():
        if (package in names or kind in configured) and find_spec(package) is None:
            key = f"--logger {package}" if package in names else f"visualizer.vis_backends: {kind}"
            raise ConfigError(f"{key} needs the package {package}; run: pip install {package}")
    if new := [_settings(name, cfg) for name in names if LOGGERS[name] not in configured]:
        cfg.visualizer = {**visualizer, "vis_backends": [*backends, *new]}


def _settings(name: str, cfg: Config) -> dict[str, Any]:
    """Return the config of a logger; W&B and MLflow name the run like its work directory."""
    run = os.path.basename(os.path.abspath(cfg.work_dir))
    settings: dict[str, Any] = {"type": LOGGERS[name]}
    if name == "wandb":
        settings["init_kwargs"] = {"name": run}
    if name == "mlflow":
        settings["run_name"] = run
        # MMEngine would write files into the work directory, which MLflow refuses since version 3.
        settings["tracking_uri"] = import_module("mlflow").get_tracking_uri()
    return settings
