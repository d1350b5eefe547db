"""Loggers of other packages: one option adds them, and a missing package is named at once."""

import json
import sys
from types import SimpleNamespace

import pytest
from in_process import run_script
from mmengine.config import Config
from mmengine.logging import MMLogger

from drivemim.errors import ConfigError
from drivemim.registry import VISBACKENDS
from drivemim.training.loggers import WandbLogger, add_loggers, failures_reported
from drivemim.training.run import train

WANDB = """
import json, pathlib, types
CALLS = pathlib.Path(__file__).with_name('calls.jsonl')

def note(name, /, **content):
    with CALLS.open('a') as file:
        file.write(json.dumps([name, content], default=str) + chr(10))

init = lambda **arguments: note('init', **arguments)
log = lambda content, commit=True: note('log', **content)
join = finish = lambda: note('end')
define_metric = lambda **arguments: note('define_metric', **arguments)
Image = lambda pixels: [pixels]
config = types.SimpleNamespace(update=lambda content, allow_val_change: note('config'))
run = types.SimpleNamespace(log_code=lambda name=None: None)
"""


@pytest.fixture
def toy(repository):
    return repository / "tests" / "toys" / "configs" / "toy.py"


@pytest.fixture
def wandb(tmp_path, monkeypatch):
    """Install a fake package ``wandb``; return the file that it writes its calls to."""
    (tmp_path / "packages").mkdir(exist_ok=True)
    (tmp_path / "packages" / "wandb.py").write_text(WANDB)
    monkeypatch.syspath_prepend(tmp_path / "packages")
    yield tmp_path / "packages" / "calls.jsonl"
    sys.modules.pop("wandb", None)


def test_one_option_sends_the_losses_with_their_iterations(toy, wandb, tmp_path):
    train(toy, work_dir=tmp_path / "drives", loggers=["wandb"])
    calls = [json.loads(line) for line in wandb.read_text().splitlines()]
    assert calls[0][0] == "init"
    assert calls[0][1]["name"] == "drives"
    assert ["define_metric", {"name": "*", "step_metric": "iter"}] in calls
    logged = [content for name, content in calls if name == "log"]
    (file,) = (tmp_path / "drives").glob("*/vis_data/scalars.json")
    expected = [json.loads(line) for line in file.read_text().splitlines()]
    assert [each["loss"] for each in logged] == [each["loss"] for each in expected]
    assert [each["iter"] for each in logged] == [each["step"] for each in expected]
    dump = Config.fromfile(tmp_path / "drives" / "toy.py")
    assert dump.visualizer.vis_backends[-1].type == "drivemim.WandbLogger"


def test_pictures_have_the_iteration_of_the_losses(wandb, tmp_path):
    logger = WandbLogger(str(tmp_path))
    logger.add_image("reconstruction_0", "pixels", step=40)
    logger.add_scalar("probe/mAP", 0.5, step=40)
    calls = [json.loads(line) for line in wandb.read_text().splitlines()]
    assert calls[-2:] == [
        ["log", {"reconstruction_0": ["pixels"], "iter": 40}],
        ["log", {"probe/mAP": 0.5, "iter": 40}],
    ]


def test_the_command_has_the_option(toy, wandb, tmp_path):
    done = run_script("tools/train.py", toy, "--work-dir", tmp_path / "run", "--logger", "wandb")
    assert done.returncode == 0, done.stderr
    assert '"loss"' in wandb.read_text()


def test_a_logger_that_the_config_has_keeps_its_settings(wandb):
    own = {"type": "WandbVisBackend", "init_kwargs": {"project": "drives"}}
    cfg = Config({"work_dir": "run", "visualizer": {"type": "Visualizer", "vis_backends": [own]}})
    add_loggers(cfg, ["wandb"])
    assert cfg.visualizer.vis_backends == [own]


def test_a_config_without_a_visualizer_keeps_its_files(wandb):
    cfg = Config({"work_dir": "runs/night"})
    add_loggers(cfg, ["wandb"])
    assert cfg.visualizer.to_dict() == {
        "type": "Visualizer",
        "vis_backends": [
            {"type": "LocalVisBackend"},
            {
                "type": "drivemim.WandbLogger",
                "init_kwargs": {"name": "night", "allow_val_change": True},
            },
        ],
    }


@pytest.fixture
def mlflow(tmp_path, monkeypatch):
    """Return a function that installs a fake package ``mlflow`` with the given lines of code."""

    def write(*lines):
        (tmp_path / "packages").mkdir(exist_ok=True)
        (tmp_path / "packages" / "mlflow.py").write_text("\n".join(lines))
        monkeypatch.syspath_prepend(tmp_path / "packages")
        monkeypatch.delitem(sys.modules, "mlflow", raising=False)

    yield write
    sys.modules.pop("mlflow", None)


def test_mlflow_gets_pictures_with_steps_and_its_address_is_not_in_the_config(mlflow, tmp_path):
    mlflow(
        "class MlflowException(Exception): pass",
        "pictures, uris = [], []",
        "get_tracking_uri = lambda: 'http://me:secret@localhost:5000'",
        "set_tracking_uri = uris.append",
        "get_experiment_by_name = lambda name: name",
        "set_experiment = lambda name: None",
        "set_tag = lambda *pair: None",
        "log_image = lambda image, name: pictures.append((image, name))",
    )
    cfg = Config({"work_dir": "runs/night"})
    add_loggers(cfg, "mlflow")
    settings = cfg.visualizer.vis_backends[1]
    assert settings == {"type": "drivemim.MLflowLogger", "run_name": "night"}
    logger = VISBACKENDS.build({**settings, "save_dir": str(tmp_path)})
    MMLogger.get_instance("mlflow", log_file=str(tmp_path / "log"))
    for step in (3, 6):
        logger.add_image("reconstruction_0", "pixels", step)
    import mlflow as written

    assert written.uris == ["http://me:secret@localhost:5000"]
    assert written.pictures == [
        ("pixels", "reconstruction_0_3.png"), ("pixels", "reconstruction_0_6.png"),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("error", "status"), [(ValueError("x"), "FAILED"), (KeyboardInterrupt(), "KILLED")]
)
@pytest.mark.parametrize("begun", [True, False])
def test_a_failed_run_is_not_shown_as_finished(monkeypatch, error, status, begun):
    """A run that a logger has not begun, such as in another process, is not begun to be ended."""
    ends = []
    mlflow = SimpleNamespace(active_run=lambda: begun or None, end_run=ends.append)
    wandb = SimpleNamespace(run=begun or None, finish=lambda exit_code: ends.append(exit_code))
    monkeypatch.setitem(sys.modules, "mlflow", mlflow)
    monkeypatch.setitem(sys.modules, "wandb", wandb)
    runner = SimpleNamespace(visualizer=SimpleNamespace(get_backend=lambda name: name))
    with pytest.raises(type(error)), failures_reported(runner):
        raise error
    with failures_reported(runner):
        pass
    assert ends == ([status, 1] if begun else [])


def test_a_logger_that_does_not_start_is_one_line(toy, mlflow, tmp_path):
    """The error may have any class. An error of closing the logger does not replace it."""
    mlflow(
        "class MlflowException(Exception): pass",
        "def set_tracking_uri(uri): raise MlflowException('no\\nserver ' + uri)",
        "get_tracking_uri = lambda: 'http://me:secret@localhost:5000'",
    )
    with pytest.raises(ConfigError) as error:
        train(toy, work_dir=tmp_path / "run", loggers=["mlflow"])
    assert str(error.value) == (
        "a logger (--logger, or visualizer.vis_backends of the config) does not start: "
        "MlflowException: no server http://me:***@localhost:5000"
    )
    assert not (tmp_path / "run").exists()


def test_a_missing_package_is_named_before_anything_is_written(toy, tmp_path):
    work_dir = tmp_path / "run"
    with pytest.raises(ConfigError, match=r"--logger wandb needs the package wandb; run: pip inst"):
        train(toy, work_dir=work_dir, loggers=["wandb"])
    options = {"visualizer.vis_backends": [{"type": "WandbVisBackend"}]}
    with pytest.raises(ConfigError) as error:
        train(toy, work_dir=work_dir, options=options)
    assert str(error.value) == (
        "visualizer.vis_backends: WandbVisBackend needs the package wandb; run: pip install wandb"
    )
    with pytest.raises(ConfigError, match="--logger wanbd is not one of aim, .*did you mean 'wand"):
        train(toy, work_dir=work_dir, loggers=["wanbd"])
    assert not work_dir.exists()
