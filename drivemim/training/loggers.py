"""Loggers that get the scalars and pictures of a run, besides its files and TensorBoard."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib import import_module
from importlib.util import find_spec
from typing import Any

from mmengine.config import Config
from mmengine.logging import print_log
from mmengine.visualization import MLflowVisBackend, WandbVisBackend

from drivemim.config.nested import short_type
from drivemim.errors import ConfigError, did_you_mean
from drivemim.registry import VISBACKENDS

LOGGERS = {
    "aim": "AimVisBackend",
    "clearml": "ClearMLVisBackend",
    "dvclive": "DVCLiveVisBackend",
    "mlflow": "drivemim.MLflowLogger",
    "neptune": "NeptuneVisBackend",
    "wandb": "drivemim.WandbLogger",
}
"""Class of each logger by its name, which is also that of its package."""
_PACKAGES = {short_type({"type": kind}): name for name, kind in LOGGERS.items()} | {
    "MLflowVisBackend": "mlflow",
    "WandbVisBackend": "wandb",
}
"""Package of each class."""


@VISBACKENDS.register_module()
class MLflowLogger(MLflowVisBackend):
    """MMEngine's logger for MLflow, which writes where MLflow itself would.

    MMEngine's own writes files into the work directory by default, which MLflow refuses since
    version 3, and its pictures lack the extension that MLflow requires.

    Args:
        save_dir: folder of the run.
        tracking_uri: address of the store; None for MLflow's own choice (``MLFLOW_TRACKING_URI``,
            else ``mlflow.db`` in the current folder). That address may have a password, and is not
            written into the run's config.
        settings: other arguments of MMEngine's class.
    """

    def __init__(self, save_dir: str, tracking_uri: str | None = None, **settings: Any) -> None:
        tracking_uri = tracking_uri or import_module("mlflow").get_tracking_uri()
        super().__init__(save_dir, tracking_uri=tracking_uri, **settings)

    def add_config(self, config: Config, **others: Any) -> None:
        """Log the config as parameters and as a text.

        If MLflow has other parameters of this run already (``MLFLOW_RUN_ID``), they stay.
        """
        try:
            super().add_config(config, **others)
        except self.experiment.MlflowException as error:
            print_log(f"MLflow keeps its parameters of the run: {error}", level=logging.WARNING)
            self.experiment.log_text(config.pretty_text, "config.py")

    def add_image(self, name: str, image: Any, step: int = 0, **others: Any) -> None:
        """Log a picture under a name with its step, so that it replaces no earlier one."""
        super().add_image(f"{name}_{step}.png", image, step, **others)


@VISBACKENDS.register_module()
class WandbLogger(WandbVisBackend):
    """MMEngine's logger for Weights & Biases, with the iteration as the x axis of all charts.

    MMEngine's own does not pass on the iteration. Pictures and validations would then be shown at
    another step than the losses of the same iteration, also after a run is resumed.

    Args:
        save_dir: folder of the run.
        settings: other arguments of MMEngine's class.
    """

    def __init__(self, save_dir: str, **settings: Any) -> None:
        axis = [{"name": "*", "step_metric": "iter"}]
        super().__init__(save_dir, **{"define_metric_cfg": axis, **settings})

    def add_image(self, name: str, image: Any, step: int = 0, **others: Any) -> None:
        """Log a picture with its iteration."""
        self.add_scalars({name: self.experiment.Image(image)}, step)

    def add_scalar(self, name: str, value: Any, step: int = 0, **others: Any) -> None:
        """Log a number with its iteration."""
        self.add_scalars({name: value}, step)

    def add_scalars(
        self, scalar_dict: dict[str, Any], step: int = 0, file_path: str | None = None, **_: Any
    ) -> None:
        """Log numbers with their iteration."""
        self.experiment.log({**scalar_dict, "iter": step})


@contextmanager
def failures_reported(runner: Any) -> Iterator[None]:
    """Tell MLflow and W&B that a run failed, if the block does; they would show it as finished.

    Nothing is told before a logger has begun a run, and by other processes than the one that did.
    """
    try:
        yield
    except BaseException as error:
        mlflow, wandb = sys.modules.get("mlflow"), sys.modules.get("wandb")
        if runner.visualizer.get_backend("MLflowLogger") and mlflow and mlflow.active_run():
            stopped = isinstance(error, KeyboardInterrupt)
            mlflow.end_run("KILLED" if stopped else "FAILED")
        if runner.visualizer.get_backend("WandbLogger") and wandb and wandb.run:
            wandb.finish(exit_code=1)
        raise


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
    configured = {
        _PACKAGES.get(kind := short_type(each)): kind
        for each in backends
        if isinstance(each, Mapping)
    }
    for package in LOGGERS:
        if (package in names or package in configured) and find_spec(package) is None:
            key = f"visualizer.vis_backends: {configured.get(package)}"
            key = f"--logger {package}" if package in names else key
            raise ConfigError(f"{key} needs the package {package}; run: pip install {package}")
    if new := [_settings(name, cfg) for name in names if name not in configured]:
        cfg.visualizer = {**visualizer, "vis_backends": [*backends, *new]}


def _settings(name: str, cfg: Config) -> dict[str, Any]:
    """Return the config of a logger; W&B and MLflow name the run like its work directory."""
    run = os.path.basename(os.path.abspath(cfg.work_dir))
    # A run that goes on in a run of W&B has other values of ``resume`` and ``load_from``.
    named = {
        "wandb": {"init_kwargs": {"name": run, "allow_val_change": True}},
        "mlflow": {"run_name": run},
    }
    return {"type": LOGGERS[name], **named.get(name, {})}
