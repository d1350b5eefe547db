"""Unknown options, and the nearest one."""

import importlib
import sys
from pathlib import Path

import pytest

from drivemim.arguments import ArgumentParser
from drivemim.cli import COMMANDS

REPOSITORY = Path(__file__).resolve().parents[1]
PARSER = "ArgumentParser("


def parser():
    made = ArgumentParser(prog="prog")
    made.add_argument("config")
    made.add_argument("--work-dir", required=True)
    made.add_argument("--work-out")
    made.add_argument("--seed", type=int)
    made.add_argument("--cfg-options", nargs="+")
    made.add_argument("--local_rank", help="==SUPPRESS==")
    return made


def complaint(made, *texts, capsys):
    with pytest.raises(SystemExit) as end:
        made.parse_args(texts)
    assert end.value.code == 2
    return capsys.readouterr().err.splitlines()[-1]


@pytest.mark.parametrize(
    ("texts", "expected"),
    [
        # Before the missing --work-dir, which is the same mistake.
        (["x.py", "--workdir", "y"], "there is no option --workdir; did you mean '--work-dir'?"),
        (["x.py", "--work_dir=y"], "there is no option --work_dir; did you mean '--work-dir'?"),
        (["--sede", "1", "x.py"], "there is no option --sede; did you mean '--seed'?"),
        (["x.py", "--cfg-option", "a=1", "--zzz"], "there is no option --zzz"),
        (["x.py", "--local-ran", "1"], "there is no option --local-ran"),  # the help hides it
        (["x.py"], "the following arguments are required: --work-dir"),
        (["x.py", "--work", "y"], "ambiguous option: --work could match --work-dir, --work-out"),
        (["x.py", "y.py", "--work-dir", "z"], "unrecognized arguments: y.py"),
    ],
)
def test_unknown_options(texts, expected, capsys):
    assert complaint(parser(), *texts, capsys=capsys) == f"prog: error: {expected}"


def test_known_options_and_values():
    found = parser().parse_args(["--work-d", "y", "--seed=3", "--cfg-options", "a=1", "--", "--x"])
    assert (found.work_dir, found.seed, found.cfg_options) == ("y", 3, ["a=1"])
    assert found.config == "--x"  # after --, everything is a value
    assert parser().parse_args(["x.py", "--work-dir", "a --b"]).work_dir == "a --b"


def test_commands_of_a_command_have_options_of_their_own(capsys):
    made = ArgumentParser(prog="prog")
    made.add_argument("--verbose", action="store_true")
    frames = made.add_subparsers(dest="source", required=True).add_parser("frames")
    frames.add_argument("--root", required=True)
    assert made.parse_args(["frames", "--root", "x"]).root == "x"
    error = complaint(made, "frames", "--rot", "x", capsys=capsys)
    assert error == "prog frames: error: there is no option --rot; did you mean '--root'?"
    error = complaint(made, "--verbos3", "frames", "--root", "x", capsys=capsys)
    assert error == "prog: error: there is no option --verbos3; did you mean '--verbose'?"


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_suggests(command, monkeypatch, capsys):
    module = importlib.import_module(f"drivemim.cli.{command.replace('-', '_')}")
    texts = ["frames", "--hepl"] if command == "index" else ["--hepl"]
    monkeypatch.setattr(sys, "argv", [f"drivemim {command}", *texts])
    with pytest.raises(SystemExit):
        module.main()
    assert "there is no option --hepl; did you mean '--help'?" in capsys.readouterr().err


def test_every_parser_is_ours():
    sources = [*REPOSITORY.glob("drivemim/**/*.py"), *REPOSITORY.glob("tools/**/*.py")]
    others = {
        str(path.relative_to(REPOSITORY))
        for path in sources
        if f"argparse.{PARSER}" in path.read_text() and path.name != "arguments.py"
    }
    assert others == set()
