"""Options that a command does not have, and the suggested ones."""

import argparse
import ast
import importlib
import sys
from pathlib import Path

import pytest

from drivemim.arguments import ArgumentParser
from drivemim.cli import COMMANDS

REPOSITORY = Path(__file__).resolve().parents[1]


def make_parser():
    parser = ArgumentParser(prog="prog")
    parser.add_argument("config")
    parser.add_argument("--work-dir", required=True)
    parser.add_argument("--work-out")
    parser.add_argument("--seed", type=int)
    parser.add_argument("--cfg-options", nargs="+")
    parser.add_argument("--local_rank", help=argparse.SUPPRESS)
    return parser


def error_line(parser, *arguments, capsys):
    with pytest.raises(SystemExit) as end:
        parser.parse_args(arguments)
    assert end.value.code == 2
    return capsys.readouterr().err.splitlines()[-1]


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        # Not "--work-dir is required": it is only missing because it is misspelt.
        (["x.py", "--workdir", "y"], "there is no option --workdir; did you mean '--work-dir'?"),
        (["x.py", "--work_dir=y"], "there is no option --work_dir; did you mean '--work-dir'?"),
        (["--sede", "1", "x.py"], "there is no option --sede; did you mean '--seed'?"),
        (["x.py", "--cfg-option", "a=1", "--zzz"], "there is no option --zzz"),
        # --local_rank is not in the help, so it is not suggested.
        (["x.py", "--local-ran", "1"], "there is no option --local-ran"),
        (["x.py"], "the following arguments are required: --work-dir"),
        (["x.py", "--work", "y"], "ambiguous option: --work could match --work-dir, --work-out"),
        (["x.py", "y.py", "--work-dir", "z"], "unrecognized arguments: y.py"),
    ],
)
def test_unknown_options(arguments, expected, capsys):
    assert error_line(make_parser(), *arguments, capsys=capsys) == f"prog: error: {expected}"


def test_known_options_and_values():
    arguments = ["--work-d", "y", "--seed=3", "--cfg-options", "a=1", "--", "--x"]
    values = make_parser().parse_args(arguments)
    assert (values.work_dir, values.seed, values.cfg_options) == ("y", 3, ["a=1"])
    assert values.config == "--x"  # after --, everything is a value
    assert make_parser().parse_args(["x.py", "--work-dir", "a --b"]).work_dir == "a --b"


def test_subcommands_have_options_of_their_own(capsys):
    parser = ArgumentParser(prog="prog")
    parser.add_argument("--verbose", action="store_true")
    frames = parser.add_subparsers(dest="source", required=True).add_parser("frames")
    frames.add_argument("--root", required=True)
    assert parser.parse_args(["frames", "--root", "x"]).root == "x"
    error = error_line(parser, "frames", "--rot", "x", capsys=capsys)
    assert error == "prog frames: error: there is no option --rot; did you mean '--root'?"
    error = error_line(parser, "--verbos3", "frames", "--root", "x", capsys=capsys)
    assert error == "prog: error: there is no option --verbos3; did you mean '--verbose'?"


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_suggests(command, monkeypatch, capsys):
    module = importlib.import_module(f"drivemim.cli.{command.replace('-', '_')}")
    arguments = ["frames", "--hepl"] if command == "index" else ["--hepl"]
    monkeypatch.setattr(sys, "argv", [f"drivemim {command}", *arguments])
    with pytest.raises(SystemExit):
        module.main()
    assert "there is no option --hepl; did you mean '--help'?" in capsys.readouterr().err


def uses_standard_parser(source):
    """Whether a module builds an ``argparse.ArgumentParser``, or imports it by name."""
    nodes = list(ast.walk(ast.parse(source)))
    called = {ast.unparse(node.func) for node in nodes if isinstance(node, ast.Call)}
    imported = {
        f"{node.module}.{each.name}"
        for node in nodes
        if isinstance(node, ast.ImportFrom)
        for each in node.names
    }
    return "argparse.ArgumentParser" in called | imported


def test_every_parser_is_that_of_drivemim_arguments():
    sources = [*REPOSITORY.glob("drivemim/**/*.py"), *REPOSITORY.glob("tools/**/*.py")]
    offenders = {
        str(path.relative_to(REPOSITORY))
        for path in sources
        if uses_standard_parser(path.read_text())
    }
    assert offenders == set()


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("import argparse\nparser = argparse.ArgumentParser(prog='x')", True),
        ("from argparse import Namespace, ArgumentParser as Parser", True),
        ("def f(parser: argparse.ArgumentParser): parser.parse_args()", False),
        ("from drivemim.arguments import ArgumentParser\nArgumentParser()", False),
    ],
)
def test_standard_parsers_are_recognised(source, expected):
    assert uses_standard_parser(source) == expected
