"""Tutorials and guides, followed word for word."""

import io
import re
import shlex
from collections.abc import Iterator
from contextlib import redirect_stdout
from pathlib import Path

import pytest
from in_process import REPOSITORY, run_script

LINKED = ("tools", "examples", "configs", "tests")
"""Folders of the repository that commands name."""


def linked_folder(folder: Path) -> Path:
    """Fill a folder with links, so that commands run in it as in the repository."""
    for name in LINKED:
        (folder / name).symlink_to(REPOSITORY / name)
    return folder


def steps_of(text: str) -> Iterator[tuple[str, str]]:
    """Yield the commands and Python blocks of a document, in order.

    Yields:
        ``command`` and the command with its continuation lines as one; or ``code`` and the block.
    """
    pattern = r"^```python\n(.*?)^```$|^    (python (?:[^\n]*\\\n)*[^\n]*)$"
    for found in re.finditer(pattern, text, re.MULTILINE | re.DOTALL):
        code, command = found.groups()
        yield ("command", command.replace("\\\n", " ")) if code is None else ("code", code)


def follow(document: str, folder: Path, *, skip: int = 0) -> str:
    """Run the commands and Python blocks of a document in a folder, in order.

    A block whose first line is a comment with a path, ``# PATH.py``, is written to that file.

    Args:
        document: path from the repository's root.
        folder: what ``linked_folder`` returns.
        skip: number of steps at the beginning whose results are already there.

    Returns:
        What the commands print.
    """
    printed, names = [], {"__name__": "__main__"}
    for kind, step in list(steps_of((REPOSITORY / document).read_text()))[skip:]:
        if kind == "command":
            script, *arguments = shlex.split(step)[1:]
            written = folder / script  # by an earlier block of the document
            done = run_script(written if written.exists() else script, *arguments, folder=folder)
            assert done.returncode == 0, f"{step}: {done.stdout}{done.stderr}"
            printed += [done.stdout, done.stderr]
        elif header := re.match(r"# (\S+\.py)\n", step):
            path = folder / header[1]
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(step)
        else:
            printed.append(run_code(step, names, document, folder))
    return "".join(printed)


def run_code(code: str, names: dict[str, object], document: str, folder: Path) -> str:
    """Run a Python block in a folder; return what it prints."""
    out = io.StringIO()
    with pytest.MonkeyPatch.context() as patch, redirect_stdout(out):
        patch.chdir(folder)
        exec(compile(code, document, "exec"), names)
    return out.getvalue()
