"""Files that are whole or absent."""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path

_NOT_OPENED = (errno.EACCES, errno.EPERM, errno.ELOOP, errno.ENXIO)


def why_unreadable(path: str | Path) -> str | None:
    """Say why a path is not a file that can be opened and is not empty; None if it is one.

    A name in a folder is not yet a file: it can be a link to nothing, or a copy that failed.

    Raises:
        OSError: if the system fails and not the file.
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


def check_target(path: str | Path, *, cure: str = "name another place") -> None:
    """Refuse, before the work, a file that could not be written after it.

    Args:
        path: the file.
        cure: what to do where its folder is read-only, for the error.

    Raises:
        IsADirectoryError: if it is a folder.
        NotADirectoryError: if it is to lie below a file.
        PermissionError: if nothing can be written to its folder.
    """
    path = Path(path)
    if path.is_dir():
        raise IsADirectoryError(f"{path} is a folder; name a file to write")
    above = next((parent for parent in path.absolute().parents if parent.exists()), None)
    if above is not None and not above.is_dir():
        raise NotADirectoryError(f"{path} cannot be written: {above} is a file")
    if above is not None and not os.access(above, os.W_OK | os.X_OK):
        raise PermissionError(f"{path} cannot be written: {above} is read-only; {cure}")


def write_bytes(path: Path, content: bytes | memoryview) -> None:
    """Write beside, then rename: ``path`` is either what it was, or complete.

    Raises:
        OSError: naming ``path``, if it cannot be written; nothing half-written is left.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
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
    """Real paths of many files, to tell whether two names are of one file.

    Links are followed, those of folders once for all files in them.
    """

    def __init__(self) -> None:
        self._folders: dict[str, str] = {}

    def __call__(self, path: str | os.PathLike[str]) -> str:
        """Return the absolute path of a file without links, ``.`` and ``..``."""
        folder, name = os.path.split(os.fspath(path))
        if name in ("", os.curdir, os.pardir):
            return os.path.realpath(path)
        if folder not in self._folders:
            self._folders[folder] = os.path.realpath(folder)
        real = os.path.join(self._folders[folder], name)
        return os.path.realpath(real) if os.path.islink(real) else real


def plain_path(path: str | os.PathLike[str]) -> Path:
    """Return an absolute path without ``.`` and ``..``, with its links where that is the same."""
    plain = os.path.abspath(path)
    if os.pardir in Path(path).parts and os.path.realpath(plain) != os.path.realpath(path):
        plain = os.path.realpath(path)  # ``link/..`` is the folder above the link's target
    return Path(plain)


def path_from(root: Path, path: Path, real: RealPaths) -> str:
    """Return a file's path relative to a folder that it lies in, else its absolute path.

    Args:
        root: the folder, a ``plain_path``.
        path: the file.
        real: of a caller who asks for many.
    """
    plain = plain_path(path)
    if plain.is_relative_to(root):
        return plain.relative_to(root).as_posix()
    inside, target = Path(real(root)), Path(real(path))
    if target.is_relative_to(inside):
        return target.relative_to(inside).as_posix()
    return plain.as_posix()
