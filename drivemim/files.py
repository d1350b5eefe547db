"""Functions for checking paths and for writing files atomically."""

from __future__ import annotations

import errno
import os
import shutil
import stat
from pathlib import Path

_NOT_OPENED = (errno.EACCES, errno.EPERM, errno.ELOOP, errno.ENXIO)
"""Errors that come from the file itself: no permission, links in a circle, or a socket."""


def why_unreadable(path: str | Path) -> str | None:
    """Return why a path is not a readable, non-empty file; None if it is one.

    A directory entry is not enough: it can be a broken link or a failed copy.

    Raises:
        OSError: if the error comes from the system rather than from the file.
    """
    try:
        handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    except (FileNotFoundError, NotADirectoryError):
        return "is a link to a missing file" if os.path.islink(path) else "is missing"
    except OSError as error:
        if error.errno not in _NOT_OPENED:
            raise
        return f"cannot be opened ({error.strerror})"
    try:
        status = os.fstat(handle)
    finally:
        os.close(handle)
    if not stat.S_ISREG(status.st_mode):
        return "is not a file"
    return None if status.st_size else "is empty"


def ensure_writable(path: str | Path, *, fix: str = "name another place") -> None:
    """Check before long work that a file can be written afterwards.

    Args:
        path: the file.
        fix: advice for the error message if the folder is read-only.

    Raises:
        IsADirectoryError: if the path is a folder.
        NotADirectoryError: if a parent of the path is a file.
        PermissionError: if its folder is not writable.
    """
    path = Path(path)
    if path.is_dir():
        raise IsADirectoryError(f"{path} is a folder; name a file to write")
    above = next((parent for parent in path.absolute().parents if parent.exists()), None)
    if above is not None and not above.is_dir():
        raise NotADirectoryError(f"{path} cannot be written: {above} is a file")
    if above is not None and not os.access(above, os.W_OK | os.X_OK):
        raise PermissionError(f"{path} cannot be written: {above} is read-only; {fix}")


def ensure_folder(path: str | Path) -> None:
    """Check before long work that files can be written to a folder.

    Args:
        path: the folder, which may not exist yet.

    Raises:
        NotADirectoryError: if the path or a parent of it is a file.
        PermissionError: if the folder is not writable.
        FileNotFoundError: if the path is a broken link.
    """
    path = Path(path)
    if path.exists() and not path.is_dir():
        raise NotADirectoryError(f"{path} is a file; name a folder to write to")
    if path.is_dir():
        if not os.access(path, os.W_OK | os.X_OK):
            raise PermissionError(f"{path} is read-only; name another folder")
        return
    if path.is_symlink():
        raise FileNotFoundError(f"{path} is a link to a missing folder; name another folder")
    ensure_writable(path, fix="name another folder")


def partial_path(path: Path) -> Path:
    """Return a temporary path beside a file or folder, which only this process uses."""
    return path.with_name(f".{path.name}.{os.getpid()}.partial")


def remove_abandoned(path: Path, before: str = ".", after: str = ".partial") -> None:
    """Remove the temporary files and folders of killed processes beside a file or folder.

    The name of a temporary file is a dot, the name of ``path``, ``before``, the number of the
    process that wrote it, and ``after``. It is removed if no process has this number any more;
    otherwise it may be in use.

    Args:
        path: the file or folder that the processes wrote.
        before: text between its name and the process number.
        after: text after the process number.
    """
    start = f".{path.name}{before}"
    for entry in path.parent.iterdir() if path.parent.is_dir() else ():
        number = entry.name.removeprefix(start).removesuffix(after)
        if entry.name == f"{start}{number}{after}" and number.isdigit() and not _runs(int(number)):
            if entry.is_dir() and not entry.is_symlink():
                shutil.rmtree(entry, ignore_errors=True)
            else:
                entry.unlink(missing_ok=True)


def _runs(process: int) -> bool:
    """Return whether there is a process of this number."""
    try:
        os.kill(process, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:  # another user's process
        return True
    return True


def write_bytes(path: Path, content: bytes | memoryview) -> None:
    """Write a temporary file, then rename it: ``path`` is either unchanged or complete.

    Raises:
        OSError: if ``path`` cannot be written; the message names it and no partial file is left.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    remove_abandoned(path)
    partial = partial_path(path)
    try:
        with open(partial, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(partial, path)
    except OSError as error:
        raise OSError(error.errno, error.strerror, str(path)) from error
    finally:
        partial.unlink(missing_ok=True)


def posix_name(name: str) -> str:
    """Return the name of a file with slashes where a program on Windows wrote backslashes."""
    return name.replace("\\", "/")


class RealPaths:
    """A cache of real paths, to tell whether two names refer to the same file.

    Links are followed. The links in a folder's path are resolved once for all files of the folder.
    """

    def __init__(self) -> None:
        self._folders: dict[str, str] = {}

    def __call__(self, path: str | os.PathLike[str]) -> str:
        """Return the absolute path of a file, without links, ``.`` and ``..``."""
        folder, name = os.path.split(os.fspath(path))
        if name in ("", os.curdir, os.pardir):
            return os.path.realpath(path)
        if folder not in self._folders:
            self._folders[folder] = os.path.realpath(folder)
        real = os.path.join(self._folders[folder], name)
        return os.path.realpath(real) if os.path.islink(real) else real


def plain_path(path: str | os.PathLike[str]) -> Path:
    """Return an absolute path without ``.`` and ``..``.

    Links are resolved only if removing ``..`` from the text would name another file.
    """
    plain = os.path.abspath(path)
    if os.pardir in Path(path).parts and os.path.realpath(plain) != os.path.realpath(path):
        plain = os.path.realpath(path)  # ``link/..`` is the parent of the link's target
    return Path(plain)


def path_from(root: Path, path: Path, real: RealPaths) -> str:
    """Return a file's path relative to a folder, or its absolute path if it is outside.

    A file is also inside if it is there after links are resolved.

    Args:
        root: the folder, a ``plain_path``.
        path: the file.
        real: shared cache of real paths, for callers with many files.
    """
    plain = plain_path(path)
    if plain.is_relative_to(root):
        return plain.relative_to(root).as_posix()
    inside, target = Path(real(root)), Path(real(path))
    if target.is_relative_to(inside):
        return target.relative_to(inside).as_posix()
    return plain.as_posix()
