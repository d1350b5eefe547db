"""Checks of the installed packages, with a fix for each problem.

This module must work even if nothing else does. It uses only the standard library and
``packaging``, and every check that could crash runs in a separate process.
"""

from __future__ import annotations

import importlib.metadata
import os
import platform
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass

from packaging.version import Version

SETUP = "make setup"
CV2_PACKAGES = (
    "opencv-python",
    "opencv-python-headless",
    "opencv-contrib-python",
    "opencv-contrib-python-headless",
)
# Import name -> (maintained fork, upstream release). Both install the same folder, so only one of
# them may be installed.
OPENMMLAB = {
    "mmengine": ("onedl-mmengine", "mmengine"),
    "mmcv": ("onedl-mmcv", "mmcv"),
    "mmdet": ("onedl-mmdetection", "mmdet"),
}
# Required packages besides torch, numpy, OpenCV and OpenMMLab's.
OTHERS = (
    "nuscenes-devkit",
    "albumentations",
    "pyarrow",
    "msgspec",
    "safetensors",
    "tensorboard",
)
LOAD_OPERATORS = "import torch, mmcv._ext"
DESCRIBE_DEVICE = (
    "import torch; print(', '.join(torch.cuda.get_device_name(i)"
    " for i in range(torch.cuda.device_count())) or 'no GPU, CPU only')"
)
# -g0 leaves out debugging symbols.
REBUILD_OPERATORS = (
    "CFLAGS=-g0 MMCV_WITH_OPS=1 python -m pip install -c constraints.txt --no-build-isolation"
    " --no-cache-dir --force-reinstall --no-deps {package}"
)


@dataclass(frozen=True)
class Problem:
    """A problem and the command that fixes it."""

    message: str
    fix: str


@dataclass(frozen=True)
class Environment:
    """The installed packages, the hardware and their problems.

    Attributes:
        lines: installed packages and hardware, ready to print.
        problems: empty if there are none.
    """

    lines: tuple[str, ...]
    problems: tuple[Problem, ...]

    def __str__(self) -> str:
        problems = [f"WRONG: {problem.message}\n  fix: {problem.fix}" for problem in self.problems]
        return "\n".join([*self.lines, *(problems or ["No problems found."])])


@dataclass(frozen=True)
class Outcome:
    """The result of a Python snippet: its standard output, or its last error line if it failed."""

    ok: bool
    output: str


def installed_version(package: str) -> str | None:
    """Return the version of an installed distribution, ``None`` if it is not installed."""
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def run_python(code: str) -> Outcome:
    """Run a Python snippet in a separate process, so that a crash does not end this one."""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    if done.returncode == 0:
        return Outcome(True, done.stdout.strip())
    errors = done.stderr.strip().splitlines()
    return Outcome(False, errors[-1] if errors else f"exit code {done.returncode}")


def collect_env(
    version: Callable[[str], str | None] = installed_version,
    run: Callable[[str], Outcome] = run_python,
) -> Environment:
    """Inspect the current Python environment.

    Args:
        version: returns the version of a distribution, ``None`` if it is not installed.
        run: runs a Python snippet in a separate process.
    """
    torch = version("torch")
    operators = run(LOAD_OPERATORS) if torch else Outcome(False, "torch is not installed")
    device = run(DESCRIBE_DEVICE) if torch else Outcome(False, "torch is not installed")
    families = {name: _installed(pair, version) for name, pair in OPENMMLAB.items()}
    cv2 = _installed(CV2_PACKAGES, version)
    lines = (
        f"Python {platform.python_version()}, {os.cpu_count()} cores, {device.output}",
        f"torch {torch}, numpy {version('numpy')}",
        ", ".join(_with_versions(found) or f"{name} None" for name, found in families.items()),
        f"mmcv._ext {'loads' if operators.ok else 'does not load: ' + operators.output}",
        _with_versions(cv2) or "cv2 None",
        ", ".join(f"{name} {version(name)}" for name in OTHERS),
    )
    problems = [
        *_missing(["torch", "numpy", *OTHERS], version),
        *_numpy_problems(version("numpy")),
        *_cv2_problems(cv2),
        *_family_problems(families),
        *_upstream_problems(families, version("setuptools")),
        *_operator_problems(families["mmcv"], torch, operators),
    ]
    return Environment(lines, tuple(problems))


def _installed(
    packages: tuple[str, ...], version: Callable[[str], str | None]
) -> list[tuple[str, Version]]:
    """Return those of some packages that are installed, with their versions."""
    found = ((name, version(name)) for name in packages)
    return [(name, Version(text)) for name, text in found if text is not None]


def _with_versions(packages: list[tuple[str, Version]]) -> str:
    return ", ".join(f"{name} {number}" for name, number in packages)


def _missing(packages: list[str], version: Callable[[str], str | None]) -> list[Problem]:
    absent = [name for name in packages if version(name) is None]
    return [Problem(f"not installed: {', '.join(absent)}", SETUP)] if absent else []


def _numpy_problems(numpy: str | None) -> list[Problem]:
    if numpy is None or Version(numpy) < Version("2"):
        return []
    return [
        Problem(
            f"numpy {numpy}: nuscenes-devkit needs one below 2 (something was installed without"
            " constraints.txt)",
            "python -m pip install -c constraints.txt numpy",
        )
    ]


def _cv2_problems(packages: list[tuple[str, Version]]) -> list[Problem]:
    if not packages:
        return [Problem("not installed: opencv-python", SETUP)]
    if len({number for _, number in packages}) == 1:
        return []
    names = " ".join(name for name, _ in packages)
    return [
        Problem(
            "two versions of OpenCV overwrite each other in the folder cv2: "
            f"{_with_versions(packages)}",
            f"python -m pip uninstall -y {names} &&"
            " python -m pip install -c constraints.txt opencv-python opencv-python-headless",
        )
    ]


def _family_problems(families: dict[str, list[tuple[str, Version]]]) -> list[Problem]:
    problems = []
    for name, found in families.items():
        fork, upstream = OPENMMLAB[name]
        if not found:
            problems.append(Problem(f"not installed: {fork} (or {upstream})", SETUP))
        if len(found) == 2:
            problems.append(
                Problem(
                    f"{fork} and {upstream} both write the folder {name}",
                    f"python -m pip uninstall -y {fork} {upstream} && {SETUP}",
                )
            )
    return problems


def _upstream_problems(
    families: dict[str, list[tuple[str, Version]]], setuptools: str | None
) -> list[Problem]:
    """Return known problems of the upstream releases, which are no longer maintained."""
    problems = []
    engine = dict(families["mmengine"]).get("mmengine")
    old_engine = engine is not None and engine <= Version("0.10.7")
    if old_engine and setuptools is not None and Version(setuptools) >= Version("82"):
        problems.append(
            Problem(
                f"mmengine {engine} imports pkg_resources, which setuptools {setuptools} lacks",
                "python -m pip install 'setuptools<82'",
            )
        )
    det = dict(families["mmdet"]).get("mmdet")
    cv = max((number for _, number in families["mmcv"]), default=Version("0"))
    if det is not None and det <= Version("3.3.0") and cv >= Version("2.2.0"):
        problems.append(
            Problem(
                f"mmdet {det} refuses mmcv {cv}: it wants one below 2.2",
                f"python -m pip uninstall -y mmdet && {SETUP}",
            )
        )
    return problems


def _operator_problems(
    mmcv: list[tuple[str, Version]], torch: str | None, operators: Outcome
) -> list[Problem]:
    if operators.ok or torch is None or not mmcv:
        return []
    package = mmcv[0][0]
    if "undefined symbol" in operators.output or "Symbol not found" in operators.output:
        message = f"MMCV's operators were compiled for another torch than {torch}"
    elif "No module named 'mmcv._ext'" in operators.output:
        message = f"{package} was installed without its compiled operators (mmcv._ext)"
    else:
        message = f"mmcv._ext does not load: {operators.output}"
    return [Problem(message, REBUILD_OPERATORS.format(package=package))]
