"""The environment check, on faked installations."""

import subprocess
import sys

import pytest

from drivemim.environment import (
    LOAD_OPERATORS,
    Outcome,
    collect_env,
    installed_version,
    run_python,
)

GOOD = {
    "torch": "2.13.0+cpu",
    "numpy": "1.26.4",
    "setuptools": "81.0.0",
    "onedl-mmengine": "0.10.12",
    "onedl-mmcv": "2.3.6",
    "onedl-mmdetection": "3.5.1",
    "opencv-python": "4.11.0.86",
    "opencv-python-headless": "4.11.0.86",
    "nuscenes-devkit": "1.2.0",
    "albumentations": "2.0.8",
    "pyarrow": "22.0.0",
    "msgspec": "0.22.0",
    "safetensors": "0.8.0",
    "tensorboard": "2.21.0",
}


def inspect(changes=None, operators=Outcome(True, "")):  # noqa: B008  # frozen
    versions = {**GOOD, **(changes or {})}

    def run(code):
        return operators if code == LOAD_OPERATORS else Outcome(True, "no GPU, CPU only")

    return collect_env(versions.get, run)


def only_problem(environment):
    assert len(environment.problems) == 1, environment
    return environment.problems[0]


def test_sound_installation_has_no_problem():
    environment = inspect()
    assert environment.problems == ()
    text = str(environment)
    assert text.endswith("No problems found.")
    for part in ("torch 2.13.0+cpu", "onedl-mmcv 2.3.6", "mmcv._ext loads", "CPU only"):
        assert part in text


def test_numpy_2_is_a_problem_with_a_fix():
    problem = only_problem(inspect({"numpy": "2.1.0"}))
    assert "numpy 2.1.0" in problem.message
    assert problem.fix == "python -m pip install -c constraints.txt numpy"


def test_two_versions_of_opencv():
    problem = only_problem(inspect({"opencv-python-headless": "4.12.0.88"}))
    assert "opencv-python 4.11.0.86, opencv-python-headless 4.12.0.88" in problem.message
    assert problem.fix.startswith("python -m pip uninstall -y opencv-python opencv-python-headless")


def test_one_opencv_is_enough():
    assert inspect({"opencv-python": None}).problems == ()


@pytest.mark.parametrize(
    ("error", "message"),
    [
        ("ModuleNotFoundError: No module named 'mmcv._ext'", "without its compiled operators"),
        ("ImportError: _ext.so: undefined symbol: _ZN3c10", "compiled for another torch than 2.13"),
        ("exit code -11", "does not load: exit code -11"),
    ],
)
def test_operators_that_do_not_load(error, message):
    problem = only_problem(inspect(operators=Outcome(False, error)))
    assert message in problem.message
    for part in ("MMCV_WITH_OPS=1", "--no-build-isolation", "--no-cache-dir", "onedl-mmcv"):
        assert part in problem.fix


def test_upstream_openmmlab_packages_on_a_new_torch():
    """Torch is no problem: with DriveMIM's own reader of checkpoints, runs can be resumed."""
    upstream = {
        "onedl-mmengine": None,
        "onedl-mmcv": None,
        "onedl-mmdetection": None,
        "mmengine": "0.10.7",
        "mmcv": "2.2.0",
        "mmdet": "3.3.0",
        "setuptools": "82.0.0",
    }
    messages = [problem.message for problem in inspect(upstream).problems]
    assert len(messages) == 2
    assert "pkg_resources" in messages[0]
    assert "mmdet 3.3.0 refuses mmcv 2.2.0" in messages[1]


def test_upstream_openmmlab_packages_on_the_torch_that_they_support():
    versions = {
        "onedl-mmengine": None,
        "onedl-mmcv": None,
        "onedl-mmdetection": None,
        "mmengine": "0.10.7",
        "mmcv": "2.1.0",
        "mmdet": "3.3.0",
        "torch": "2.5.1",
    }
    assert inspect(versions).problems == ()


def test_onedl_and_upstream_openmmlab_packages_at_once():
    problem = only_problem(inspect({"mmcv": "2.1.0"}))
    assert problem.message == "onedl-mmcv and mmcv both write the folder mmcv"
    assert "pip uninstall -y onedl-mmcv mmcv" in problem.fix


def test_nothing_installed_names_everything_missing():
    environment = collect_env(lambda name: None, lambda code: Outcome(False, "nothing"))
    text = str(environment)
    for name in ("torch", "numpy", "onedl-mmengine", "onedl-mmcv", "opencv-python", "pyarrow"):
        assert any(
            problem.message.startswith("not installed") and name in problem.message
            for problem in environment.problems
        ), name
    assert "make setup" in text


def test_crash_of_a_snippet_is_an_outcome():
    crashed = run_python("import os; os.abort()")
    assert not crashed.ok
    assert "exit code -6" in crashed.output
    assert run_python("1 / 0") == Outcome(False, "ZeroDivisionError: division by zero")
    assert run_python("print('here')") == Outcome(True, "here")


def test_a_package_that_is_not_installed_has_no_version():
    assert installed_version("no-such-distribution-anywhere") is None
    assert installed_version("pytest") == pytest.__version__


def test_check_env_exits_with_0_only_without_problems(repository):
    done = subprocess.run(
        [sys.executable, "tools/check_env.py"],
        cwd=repository,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stderr == ""
    assert done.stdout.startswith("Python ")
    assert (done.returncode == 0) == ("No problems found." in done.stdout)


def test_make_check_env_before_the_setup_names_the_next_command(repository):
    done = subprocess.run(
        ["make", "--no-print-directory", "BIN=none", f"PYTHON={sys.executable} -IS", "check-env"],
        cwd=repository,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    assert done.stderr.startswith("WRONG: No module named 'drivemim' in ")
    assert "\n  fix: make setup, then " in done.stderr
