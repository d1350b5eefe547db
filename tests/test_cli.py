"""The ``drivemim`` command, the scripts in ``tools/`` and the wheel."""

import ast
import os
import re
import runpy
import subprocess
import sys
import sysconfig
import venv
from pathlib import Path

import pytest

from drivemim import __version__
from drivemim.cli import COMMANDS, main


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help(command, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["drivemim", command, "--help"])
    with pytest.raises(SystemExit) as exit_code:
        main()
    assert exit_code.value.code == 0
    assert f"usage: drivemim {command}" in capsys.readouterr().out


@pytest.mark.parametrize(
    "name", [*COMMANDS, "index frames", "index nuscenes", "index nuimages", "label_efficiency.py"]
)
def test_every_option_is_explained(name, repository, monkeypatch, capsys):
    """In the help, each option is followed by a text, on its line or the next."""
    monkeypatch.setattr(sys, "argv", ["drivemim", *name.split(), "--help"])
    monkeypatch.setenv("COLUMNS", "200")
    is_tool = name.endswith(".py")
    with pytest.raises(SystemExit):
        runpy.run_path(str(repository / "tools" / name), run_name="__main__") if is_tool else main()
    listed = re.split(r"^(?=  \S)", capsys.readouterr().out, flags=re.MULTILINE)[1:]
    assert any("--help" in each for each in listed)
    for each in listed:
        assert re.search(r"(\S {2,}|\n {4,})\S", each), each


def test_help_lists_every_command(monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["drivemim"])
    assert main() == 0
    listed = capsys.readouterr().out
    assert all(f"  {command} " in listed for command in COMMANDS)


def test_a_wrong_command_names_the_nearest(monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["drivemim", "exprot"])
    assert main() == 2
    assert "did you mean 'export'?" in capsys.readouterr().err


def test_the_module_runs_the_same_command(repository):
    done = subprocess.run(
        [sys.executable, "-m", "drivemim", "--version"], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == f"drivemim {__version__}"


def test_every_script_calls_the_command_of_its_name(repository):
    called = {}
    for script in sorted((repository / "tools").glob("*.py")):
        for node in ast.walk(ast.parse(script.read_text())):
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("drivemim.cli."):
                called[node.module.rpartition(".")[2].replace("_", "-")] = script.stem
    assert called.keys() == set(COMMANDS)


def test_the_version_is_written_once(repository):
    project = (repository / "pyproject.toml").read_text()
    assert 'dynamic = ["version"]' in project
    assert 'version = { attr = "drivemim.__version__" }' in project
    assert __version__ not in project
    assert f"version: {__version__}\n" in (repository / "CITATION.cff").read_text()


FIVE_LINES = """
import drivemim
index = drivemim.build_index("nuscenes", "town", version="v1.0-mini")
run = drivemim.pretrain("vit_micro_town", index=index, work_dir="run_of_the_wheel", options={
    "train_cfg.max_iters": 2, "param_scheduler.0.end": 1, "param_scheduler.1.begin": 1,
    "param_scheduler.1.end": 2})
drivemim.export_backbone(run.checkpoint, "vit.safetensors")
backbone = drivemim.load_backbone("vit.safetensors")
import torch
print(drivemim.__file__, *(tuple(each.shape) for each in backbone(torch.zeros(1, 3, 192, 320))))
"""


def test_the_wheel_runs_in_an_empty_folder(repository, tmp_path):
    """Install the wheel in a new environment that borrows only the dependencies."""

    def run(*command, cwd=tmp_path):
        clean = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
        done = subprocess.run(
            list(map(str, command)), cwd=cwd, env=clean, capture_output=True, text=True
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    pip = ("-m", "pip", "--disable-pip-version-check", "-q")
    quick = ("--no-deps", "--no-index", "--no-build-isolation")
    source = tmp_path / "source"
    tracked = run("git", "ls-files", "-co", "--exclude-standard", cwd=repository).splitlines()
    for name in tracked:
        if (repository / name).is_file():
            (source / name).parent.mkdir(parents=True, exist_ok=True)
            (source / name).write_bytes((repository / name).read_bytes())
    run(sys.executable, *pip, "wheel", *quick, "-w", tmp_path / "wheels", source)
    (wheel,) = (tmp_path / "wheels").glob(f"drivemim-{__version__}-*.whl")
    venv.create(tmp_path / "env", with_pip=False)
    python = tmp_path / "env" / "bin" / "python"
    site = Path(
        run(python, "-c", "import sysconfig; print(sysconfig.get_paths()['purelib'])").strip()
    )
    # Python reads no .pth files of a folder that a .pth file adds, so the repository, which is
    # installed there by a .pth file, cannot be imported.
    (site / "dependencies.pth").write_text(sysconfig.get_paths()["purelib"] + "\n")
    run(python, *pip, "install", "--no-deps", "--no-index", wheel)
    folder = tmp_path / "empty"
    folder.mkdir()
    command = tmp_path / "env" / "bin" / "drivemim"
    size = ("--scenes", "2", "--seconds", "1", "--sweep-rate", "2", "--image-size", "192", "320")
    run(command, "town", "--out", "town", *size, cwd=folder)
    printed = run(python, "-c", FIVE_LINES, cwd=folder).splitlines()[-1]
    assert printed == f"{site / 'drivemim' / '__init__.py'} (1, 128, 12, 20)"
    assert (site / "drivemim" / "py.typed").is_file()
