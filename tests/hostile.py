"""Checkpoints that run code in an unsafe reader; the code only writes a file."""

import os
import pickle
import zipfile

import torch


class Call:
    """Object that is pickled as a function call: unpickling it calls the function."""

    def __init__(self, function, *arguments):
        self.call = (function, arguments)

    def __reduce__(self):
        return self.call


def system_call(path, marker, content=None):
    """Write a checkpoint whose pickle calls ``os.system``, which creates the file ``marker``."""
    torch.save({**(content or {}), "extra": Call(os.system, f"touch {marker}")}, path)


def old_system_call(path, marker):
    """Write a checkpoint like ``system_call`` in the format before torch 1.6."""
    content = {"state_dict": {}, "extra": Call(os.system, f"touch {marker}")}
    torch.save(content, path, _use_new_zipfile_serialization=False)


def getattr_eval(path, marker):
    """Write a checkpoint whose pickle reaches ``eval`` by naming ``getattr`` and ``HistoryBuffer``.

    ``getattr(getattr(getattr, '__self__'), 'eval')`` becomes the ``__setstate__`` of a log history,
    whose state is then a line of code.
    """

    def text(value):
        return pickle.BINUNICODE + len(value).to_bytes(4, "little") + value.encode()

    function = b"c__builtin__\ngetattr\n"
    call = pickle.TUPLE2 + pickle.REDUCE
    evaluate = function + (function + function + text("__self__") + call) + text("eval") + call
    history = b"cmmengine.logging.history_buffer\nHistoryBuffer\n" + pickle.EMPTY_TUPLE
    state = pickle.EMPTY_DICT + text("__setstate__") + evaluate + pickle.SETITEM
    code = text(f"open({str(marker)!r}, 'w')")
    program = history + pickle.NEWOBJ + state + pickle.BUILD + code + pickle.BUILD
    _with_pickle(path, pickle.PROTO + b"\x02" + program + pickle.STOP)


def _with_pickle(path, program):
    """Write a file of ``torch.save`` and replace the pickle in it."""
    torch.save({}, path)
    with zipfile.ZipFile(path) as archive:
        parts = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(path, "w") as archive:
        for name, value in parts.items():
            archive.writestr(name, program if name.endswith("data.pkl") else value)
