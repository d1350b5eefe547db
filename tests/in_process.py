"""Run scripts of the repository in this process: a new process takes seconds for its imports."""

import io
import runpy
import sys
from collections import OrderedDict
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from subprocess import CompletedProcess

import pytest
from mmengine.registry import DefaultScope

REPOSITORY = Path(__file__).resolve().parents[1]


def run_script(
    script: str | Path, *arguments: object, folder: str | Path = REPOSITORY
) -> CompletedProcess[str]:
    """Return the exit status and output of ``python SCRIPT ARGUMENTS``.

    An exception that the script does not catch is raised here, too.

    Args:
        script: path from the repository's root.
        *arguments: arguments of the script.
        folder: folder to run it in.
    """
    command = [str(script), *map(str, arguments)]
    out, err = io.StringIO(), io.StringIO()
    status: object = 0
    with pytest.MonkeyPatch.context() as patch, redirect_stdout(out), redirect_stderr(err):
        patch.chdir(folder)
        patch.setattr(sys, "argv", command)
        patch.setattr(DefaultScope, "_instance_dict", OrderedDict())
        try:
            runpy.run_path(str(REPOSITORY / script), run_name="__main__")
        except SystemExit as stop:
            status = stop.code or 0
    if not isinstance(status, int):  # the message of sys.exit, which Python would print
        err.write(f"{status}\n")
        status = 1
    return CompletedProcess(command, status, out.getvalue(), err.getvalue())
