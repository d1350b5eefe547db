"""Safe replacements for what checkpoints contain besides tensors; no code of the file is run.

``torch.load(weights_only=True)`` calls only the functions and classes on its list. MMEngine's
training checkpoints need more: log histories, numpy arrays and scalars, ``ConfigDict``. The
functions and classes that their pickles call are unsafe: ``getattr`` can reach ``eval``, and
``numpy.dtype.__setstate__`` accepts any offset. Therefore a function or class of this module
replaces each one. The replacements accept only plain values and check them.
"""

from __future__ import annotations

import argparse
import pickle
import pickletools
import re
import zipfile
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
from mmengine.logging import HistoryBuffer

_STATISTICS = ("min", "max", "mean", "current")
# Names of numpy types of numbers or text, such as f4.
_CODE = re.compile(r"[?bBhHiIlLqQefdg]|[biufc]\d{1,2}|[SU]\d{1,6}")
# Names that torch.load itself accepts or refuses; they are not listed as the reason of a refusal.
_PLAIN = ("torch.", "collections.OrderedDict", "collections.Counter", "_codecs.encode",
          "builtins.set", "builtins.complex", "builtins.bytearray")  # fmt: skip


def safe_globals(annealing: Mapping[str, Callable[..., float]]) -> list[Any]:
    """Return replacements and the names they replace, for ``torch.serialization.safe_globals``.

    Args:
        annealing: functions of MMEngine's ``OneCycleParamScheduler`` by their names; the state of a
            scheduler in a checkpoint names one of them.
    """
    names = {
        "builtins.getattr": partial(_attribute, annealing),
        "builtins.bytes": _no_bytes,
        "builtins.slice": slice,
        "mmengine.logging.history_buffer.HistoryBuffer": _History,
        "mmengine.config.config.ConfigDict": _plain_dict,
        "mmengine.optim.scheduler.param_scheduler.OneCycleParamScheduler": _OneCycle,
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
    """Return the forbidden names in a file of ``torch.save``, as far as it can be read.

    Nothing in the file is run. Functions of torch itself are left out.
    """
    known = {name for _, name in safe_globals({})}
    refused: dict[str, None] = {}
    try:
        for name in _globals_of(path):
            if name not in known and not name.startswith(_PLAIN):
                refused[name] = None
    except (OSError, ValueError, zipfile.BadZipFile, IndexError, UnicodeDecodeError):
        pass  # The damage is reported by the reader. Names found before it are returned.
    return list(refused)


def _globals_of(path: Path) -> Iterator[str]:
    """Yield every global that the pickles in a file name."""
    if zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            for entry in archive.namelist():
                if entry.endswith(".pkl"):
                    with archive.open(entry) as file:
                        yield from _globals_in(file)
        return
    with path.open("rb") as file:
        while file.peek(1):  # the format before torch 1.6 is several pickles in a row
            yield from _globals_in(file)


def _globals_in(file: Any) -> Iterator[str]:
    """Yield every global that the next pickle of an open file names."""
    texts: list[str] = []
    memo: dict[int, str] = {}
    for operation, value, _ in pickletools.genops(file):
        if operation.name in ("GLOBAL", "INST"):
            # torch.save uses pickle protocol 2, which writes builtins by their Python 2 name.
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
    """A replacement for a ``numpy.dtype`` of numbers or text while a file is read."""

    def __init__(self, code: Any, align: Any = False, copy: Any = True) -> None:
        if not isinstance(code, str) or not _CODE.fullmatch(code):
            raise pickle.UnpicklingError(f"numpy.dtype({code!r}) is not a plain type of numbers")
        self.dtype = np.dtype(code)

    def __setstate__(self, state: Any) -> None:
        """Set the byte order; refuse fields, subtypes and offsets."""
        if not isinstance(state, tuple) or len(state) < 5 or state[2:5] != (None, None, None):
            raise pickle.UnpicklingError(f"numpy.dtype with the parts {state!r} is not plain")
        if state[1] not in ("<", ">", "|", "="):
            raise pickle.UnpicklingError(f"numpy.dtype with the byte order {state[1]!r}")
        self.dtype = self.dtype.newbyteorder(state[1])


class _Array(np.ndarray[Any, Any]):
    """A numpy array from a file: its contents are checked, then it behaves like any array."""

    def __new__(cls, *_: Any) -> _Array:
        raise pickle.UnpicklingError("numpy.ndarray is built without its numbers")

    def __setstate__(self, state: Any) -> None:
        """Set shape, type and contents of an array without objects."""
        if not isinstance(state, tuple) or len(state) != 5:
            raise pickle.UnpicklingError("numpy.ndarray with other parts than numpy's")
        version, shape, kind, fortran, data = state
        if not isinstance(kind, _Dtype) or not isinstance(data, bytes):
            raise pickle.UnpicklingError("numpy.ndarray of objects")
        super().__setstate__((version, shape, kind.dtype, bool(fortran), data))

    def __reduce__(self) -> Any:
        """Pickle as a plain array."""
        return self.view(np.ndarray).__reduce__()


def _array(kind: Any, shape: Any, code: Any) -> np.ndarray[Any, Any]:
    """Replace ``numpy.core.multiarray._reconstruct``.

    Returns:
        An empty array, which its ``__setstate__`` fills next.
    """
    return np.ndarray.__new__(_Array, (0,), np.uint8)


def _scalar(kind: Any, data: Any = b"") -> Any:
    """Replace ``numpy.core.multiarray.scalar``."""
    if not isinstance(kind, _Dtype) or not isinstance(data, bytes):
        raise pickle.UnpicklingError("a numpy scalar that is neither a number nor text")
    if len(data) != kind.dtype.itemsize or not data:
        raise pickle.UnpicklingError(f"a numpy scalar of {kind.dtype} in {len(data)} bytes")
    return np.frombuffer(data, kind.dtype)[0]


class _History(HistoryBuffer):
    """A log history from a file: only its numbers are read, then it becomes MMEngine's class."""

    def __init__(self, *_: Any) -> None:
        raise pickle.UnpicklingError("HistoryBuffer is called, which no checkpoint does")

    def __setstate__(self, state: Any) -> None:
        """Set the logged numbers and their counts; the file's statistic functions are ignored."""
        if not isinstance(state, dict):
            raise pickle.UnpicklingError(f"HistoryBuffer with the parts {type(state).__name__}")
        logged, counts = state.get("_log_history"), state.get("_count_history")
        if not all(isinstance(each, np.ndarray) and each.dtype.kind in "biuf"
                   for each in (logged, counts)):  # fmt: skip
            raise pickle.UnpicklingError("HistoryBuffer without logged numbers")
        self.__class__ = HistoryBuffer
        HistoryBuffer.__init__(self, logged, counts, int(state.get("max_length", 1_000_000)))


class _OneCycle:
    """A replacement for MMEngine's scheduler class; a file uses it only to name its functions."""

    def __init__(self, *_: Any) -> None:
        raise pickle.UnpicklingError("OneCycleParamScheduler is called, which no checkpoint does")


def _attribute(annealing: Mapping[str, Callable[..., float]], owner: Any, name: Any) -> Any:
    """Replace ``getattr``, with which pickles name methods of two classes of MMEngine.

    Returns:
        None for a statistic of a log history, because its class already has it; the function from
        ``annealing`` for one of a scheduler.
    """
    if owner is _History and name in _STATISTICS:
        return None
    if owner is _OneCycle and isinstance(name, str) and name in annealing:
        return annealing[name]
    raise pickle.UnpicklingError(f"builtins.getattr(..., {name!r})")


def _plain_dict(content: Any = ()) -> dict[Any, Any]:
    """Replace MMEngine's ``ConfigDict``, which can build its contents, with a plain dict."""
    if not isinstance(content, dict):
        raise pickle.UnpicklingError("ConfigDict of something else than a dict")
    return dict(content)


class _Namespace(argparse.Namespace):
    """Command line arguments that other projects store; becomes ``argparse.Namespace``."""

    def __init__(self, *_: Any) -> None:
        raise pickle.UnpicklingError("argparse.Namespace is called, which no checkpoint does")

    def __setstate__(self, state: Any) -> None:
        """Set the values."""
        if not isinstance(state, dict):
            raise pickle.UnpicklingError("argparse.Namespace without names")
        self.__class__ = argparse.Namespace  # type: ignore[assignment]  # its base
        self.__dict__.update({str(name): value for name, value in state.items()})


def _no_bytes(*content: Any) -> bytes:
    """Replace ``bytes``, which a pickle of protocol 2 calls to make empty bytes."""
    if content:
        raise pickle.UnpicklingError("bytes of something")
    return b""


def _path(*parts: Any) -> str:
    """Replace ``pathlib``'s classes; return the path as text."""
    return str(PurePosixPath(*(str(part) for part in parts)))
