"""What a checkpoint may hold beside tensors, rebuilt without running anything of the file.

``torch.load(weights_only=True)`` calls only what is on its list. Training checkpoints of MMEngine
need more: log histories, numpy arrays and scalars, ``ConfigDict``. The originals reach further than
their names say (``getattr`` reaches ``eval``; ``numpy.dtype.__setstate__`` believes any offset), so
each name is answered by a function or class of this module, which takes plain values only and
checks them.
"""

from __future__ import annotations

import argparse
import pickle
import pickletools
import re
import zipfile
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
from mmengine.logging import HistoryBuffer

_STATISTICS = ("min", "max", "mean", "current")
_CODE = re.compile(r"[?bBhHiIlLqQefdg]|[biufc]\d{1,2}|[SU]\d{1,6}")
# Names that torch.load knows by itself and that are no reason to refuse a file.
_PLAIN = ("torch.", "collections.OrderedDict", "collections.Counter", "_codecs.encode",
          "builtins.set", "builtins.complex", "builtins.bytearray")  # fmt: skip


def safe_globals() -> list[Any]:
    """What answers to which name, as ``torch.serialization.safe_globals`` takes it."""
    names = {
        "builtins.getattr": _statistic,
        "builtins.bytes": _no_bytes,
        "builtins.slice": slice,
        "mmengine.logging.history_buffer.HistoryBuffer": _History,
        "mmengine.config.config.ConfigDict": _plain_dict,
        "argparse.Namespace": _Namespace,
        "numpy.ndarray": _Array,
        "numpy.dtype": _Dtype,
        **{f"pathlib.{kind}": _path for kind in ("PosixPath", "WindowsPath", "Path")},
        **{f"pathlib._local.{kind}": _path for kind in ("PosixPath", "WindowsPath", "Path")},
    }
    for core in ("numpy.core", "numpy._core"):
        names[f"{core}.multiarray._reconstruct"] = _array
        names[f"{core}.multiarray.scalar"] = _scalar
    return [(value, name) for name, value in names.items()]


def refused_globals(path: Path) -> list[str]:
    """Names of what a file of ``torch.save`` asks for and may not have, as far as it can be read.

    Nothing of the file is run. Functions of torch itself are left out.
    """
    known = {name for _, name in safe_globals()}
    found: dict[str, None] = {}
    try:
        for name in _globals_of(path):
            if name not in known and not name.startswith(_PLAIN):
                found[name] = None
    except (OSError, ValueError, zipfile.BadZipFile, IndexError, UnicodeDecodeError):
        pass  # A damaged file is named as such by its reader; what was found until here counts.
    return list(found)


def _globals_of(path: Path) -> Iterator[str]:
    """Every global that the pickles in a file name."""
    if zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            for entry in archive.namelist():
                if entry.endswith(".pkl"):
                    with archive.open(entry) as file:
                        yield from _globals_in(file)
        return
    with path.open("rb") as file:
        while file.peek(1):  # the format before 1.6 is several pickles in a row
            yield from _globals_in(file)


def _globals_in(file: Any) -> Iterator[str]:
    texts: list[str] = []
    memo: dict[int, str] = {}
    for operation, value, _ in pickletools.genops(file):
        if operation.name in ("GLOBAL", "INST"):
            # Python 2's name, which the protocol of torch.save still writes.
            yield re.sub(r"^__builtin__\b", "builtins", str(value).replace(" ", ".", 1))
        elif operation.name == "STACK_GLOBAL":
            yield ".".join(texts[-2:])
        elif "PUT" in operation.name or operation.name == "MEMOIZE":
            memo[len(memo) if value is None else value] = texts[-1] if texts else ""
        elif "GET" in operation.name and value in memo:
            texts.append(memo[value])
        elif isinstance(value, str):
            texts.append(value)


class _Dtype:
    """Stands for a ``numpy.dtype`` of numbers or text while a file is read."""

    def __init__(self, code: Any, align: Any = False, copy: Any = True) -> None:
        if not isinstance(code, str) or not _CODE.fullmatch(code):
            raise pickle.UnpicklingError(f"numpy.dtype({code!r}) is no plain type of numbers")
        self.dtype = np.dtype(code)

    def __setstate__(self, state: Any) -> None:
        """Take the byte order; fields, subtypes and offsets are refused."""
        if not isinstance(state, tuple) or len(state) < 5 or state[2:5] != (None, None, None):
            raise pickle.UnpicklingError(f"numpy.dtype with the parts {state!r} is not plain")
        if state[1] not in ("<", ">", "|", "="):
            raise pickle.UnpicklingError(f"numpy.dtype with the byte order {state[1]!r}")
        self.dtype = self.dtype.newbyteorder(state[1])


class _Array(np.ndarray[Any, Any]):
    """A numpy array out of a file: its numbers are checked, then it is like any other."""

    def __new__(cls, *_: Any) -> _Array:
        raise pickle.UnpicklingError("numpy.ndarray is built without its numbers")

    def __setstate__(self, state: Any) -> None:
        """Take shape, type and numbers of an array without objects."""
        if not isinstance(state, tuple) or len(state) != 5:
            raise pickle.UnpicklingError("numpy.ndarray with other parts than numpy's")
        version, shape, kind, fortran, data = state
        if not isinstance(kind, _Dtype) or not isinstance(data, bytes):
            raise pickle.UnpicklingError("numpy.ndarray of objects")
        super().__setstate__((version, shape, kind.dtype, bool(fortran), data))

    def __reduce__(self) -> Any:
        """Be saved as a plain array."""
        return self.view(np.ndarray).__reduce__()


def _array(kind: Any, shape: Any, code: Any) -> np.ndarray[Any, Any]:
    """Answer ``numpy.core.multiarray._reconstruct``: an empty array that is filled next."""
    return np.ndarray.__new__(_Array, (0,), np.uint8)


def _scalar(kind: Any, data: Any = b"") -> Any:
    """Answer ``numpy.core.multiarray.scalar``."""
    if not isinstance(kind, _Dtype) or not isinstance(data, bytes):
        raise pickle.UnpicklingError("a numpy scalar that is no number and no text")
    if len(data) != kind.dtype.itemsize or not data:
        raise pickle.UnpicklingError(f"a numpy scalar of {kind.dtype} in {len(data)} bytes")
    return np.frombuffer(data, kind.dtype)[0]


class _History(HistoryBuffer):
    """A log history out of a file: its numbers alone; becomes MMEngine's own class."""

    def __init__(self, *_: Any) -> None:
        raise pickle.UnpicklingError("HistoryBuffer is called, which no checkpoint does")

    def __setstate__(self, state: Any) -> None:
        """Take the logged numbers and their counts; statistics are the class's own."""
        if not isinstance(state, dict):
            raise pickle.UnpicklingError(f"HistoryBuffer with the parts {type(state).__name__}")
        logged, counts = state.get("_log_history"), state.get("_count_history")
        if not all(isinstance(each, np.ndarray) and each.dtype.kind in "biuf"
                   for each in (logged, counts)):  # fmt: skip
            raise pickle.UnpicklingError("HistoryBuffer without logged numbers")
        self.max_length = int(state.get("max_length", 1_000_000))
        self._log_history = np.array(logged)
        self._count_history = np.array(counts)
        self.__class__ = HistoryBuffer
        self._set_default_statistics()


def _statistic(owner: Any, name: Any) -> None:
    """Answer ``getattr``, by which MMEngine names the statistics of a log history.

    The class has them already, so nothing is looked up.
    """
    if owner is not _History or name not in _STATISTICS:
        raise pickle.UnpicklingError(f"builtins.getattr(..., {name!r})")


def _plain_dict(content: Any = ()) -> dict[Any, Any]:
    """Answer MMEngine's ``ConfigDict``, which builds what it holds, with a dict that does not."""
    if not isinstance(content, dict):
        raise pickle.UnpicklingError("ConfigDict of something else than a dict")
    return dict(content)


class _Namespace(argparse.Namespace):
    """Arguments of a command line, as other projects keep them; becomes the plain class."""

    def __init__(self, *_: Any) -> None:
        raise pickle.UnpicklingError("argparse.Namespace is called, which no checkpoint does")

    def __setstate__(self, state: Any) -> None:
        """Take the values."""
        if not isinstance(state, dict):
            raise pickle.UnpicklingError("argparse.Namespace without names")
        self.__class__ = argparse.Namespace  # type: ignore[assignment]  # its base
        self.__dict__.update({str(name): value for name, value in state.items()})


def _no_bytes(*content: Any) -> bytes:
    """Answer ``bytes``, which is how empty ones are written."""
    if content:
        raise pickle.UnpicklingError("bytes of something")
    return b""


def _path(*parts: Any) -> str:
    """Answer ``pathlib``'s classes with the path as text."""
    return str(PurePosixPath(*(str(part) for part in parts)))
