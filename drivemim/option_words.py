"""Options in messages: as flags for the command line, as arguments for Python.

Every message of DriveMIM is written in the flags of the command line (``--work-dir``,
``--cfg-options KEY=VALUE``). :func:`speaks_python`, which decorates the public functions, rewrites
them as arguments of those functions. Commands inside a message (``drivemim index ...``) stay.
"""

from __future__ import annotations

import ast
import functools
import inspect
import os
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from numbers import Integral, Real
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, Literal, ParamSpec, TypeVar, Union, get_args, get_origin, get_type_hints

# Annotated type -> wider type that is accepted for it, so that NumPy's numbers and lists are, too.
_ACCEPTED: dict[Any, type] = {float: Real, int: Integral, Path: os.PathLike, tuple: Sequence}
# Kinds of the parameters *args and **kwargs.
_COLLECTING = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
_in_python = ContextVar("in_python", default=False)
_Arguments = ParamSpec("_Arguments")
_Result = TypeVar("_Result")

# A whole command. Its flags stay in messages for Python, too: the user types it in a shell.
_COMMAND = re.compile(r"(?:drivemim [a-z-]+|python -m)\b[^;)\n]*?--[^;)\n]*")
_TRUST = re.compile(r"--trust-checkpoint(?: \S+ \(or (\w+=[^)\s]+)\))?")
_CFG_OPTIONS = re.compile(r"--cfg-options((?: [\w.]+=(?:\([^\s()]*\)|\S*[^\s.,;:)]))+)")
_CFG_KEY = re.compile(r"--cfg-options ([\w.]+):")
_INPUT_SIZE = re.compile(r"--input-size H W\b")
_CHOICE = re.compile(r"--(launcher|missing-images) ([a-z]+)\b")
# A value is a number, a placeholder or a path.
_VALUE = re.compile(r"--([a-z][a-z-]*) (\d[\w.]*\b|[A-Z]{2,}\b|[^\s:;,]*[/.=][^\s:;,]*[^\s:;,.])")
_RESUME = re.compile(r"--resume\b(?!: )")
_OVERWRITE = re.compile(r"--overwrite\b")
_FLAG = re.compile(r"(?<![\w-])--([a-z][a-z-]*)")


def as_spoken(text: str) -> str:
    """Return a message with options as flags; as arguments inside a ``speaks_python`` function."""
    return _python_words(text) if _in_python.get() else text


def speaks_python(
    function: Callable[_Arguments, _Result],
) -> Callable[_Arguments, _Result]:
    """Decorate a public function: messages name arguments, not flags, and types are checked."""

    @functools.wraps(function)
    def call(*args: _Arguments.args, **kwargs: _Arguments.kwargs) -> _Result:
        with _python_messages():
            _check_types(function, *args, **kwargs)
            return function(*args, **kwargs)

    return call


def _check_types(function: Callable[..., Any], *args: Any, **kwargs: Any) -> None:
    """Refuse arguments that are not of the annotated types, naming them.

    Raises:
        TypeError: for an argument of another type, and, like Python, for unknown or missing ones.
    """
    hints, signature = _annotations_of(function)
    try:
        bound = signature.bind(*args, **kwargs)
    except TypeError as error:
        hint = f"; see help(drivemim.{function.__qualname__})"
        raise TypeError(f"{function.__name__}: {error}{hint}") from None
    for name, value in bound.arguments.items():
        collects = bound.signature.parameters[name].kind in _COLLECTING
        if not collects and not _fits(value, hints.get(name, Any)):
            wanted = " or ".join(
                "None" if each is NoneType else getattr(each, "__name__", str(each))
                for each in get_args(hints[name]) or (hints[name],)
            )
            raise TypeError(
                f"{function.__name__}: {name} must be {wanted}, not {type(value).__name__}"
                + (f"; give its {name}" if hasattr(value, name) else "")
            )


@functools.cache
def _annotations_of(function: Callable[..., Any]) -> tuple[dict[str, Any], inspect.Signature]:
    return get_type_hints(function), inspect.signature(function)


def _fits(value: Any, hint: Any) -> bool:
    """Return whether a value is of an annotated type; the items of containers are not checked."""
    kind = get_origin(hint) or hint
    if kind is UnionType:
        return any(_fits(value, each) for each in get_args(hint))
    # NumPy's ``ArrayLike`` is a Union; arrays are checked where they are used.
    if kind is Any or kind is Literal or kind is Union:
        return True
    if isinstance(value, bool) and kind in (int, float):
        return False
    return isinstance(value, _ACCEPTED.get(kind, kind))


@contextmanager
def _python_messages() -> Iterator[None]:
    """Rewrite the flags in the messages of errors that leave this context as arguments."""
    token = _in_python.set(True)
    try:
        yield
    except (ValueError, ArithmeticError, OSError) as error:
        error.args = tuple(
            _python_words(each) if isinstance(each, str) else each for each in error.args
        )
        raise
    finally:
        _in_python.reset(token)


def _python_words(text: str) -> str:
    """Replace flags by arguments, except in commands."""
    parts, end = [], 0
    for command in _COMMAND.finditer(text):
        parts += [_arguments(text[end : command.start()]), command[0]]
        end = command.end()
    return "".join([*parts, _arguments(text[end:])])


def _arguments(text: str) -> str:
    """Replace all flags in a text without commands by arguments."""
    text = _TRUST.sub(
        lambda found: f"the environment variable {found[1] or 'DRIVEMIM_TRUST_CHECKPOINT'}", text
    )
    text = _CFG_OPTIONS.sub(lambda found: f"options={_literal(found[1])}", text)
    text = _CFG_KEY.sub(r"options['\1']:", text).replace("--cfg-options", "options")
    text = _INPUT_SIZE.sub("input_size=(H, W)", text)
    text = _CHOICE.sub(lambda found: f"{_name(found[1])}='{found[2]}'", text)
    text = _VALUE.sub(lambda found: f"{_name(found[1])}={found[2]}", text)
    text = _OVERWRITE.sub("overwrite=True", _RESUME.sub("resume=True", text))
    return _FLAG.sub(lambda found: _name(found[1]), text)


def _name(flag: str) -> str:
    return flag.replace("-", "_")


def _literal(pairs: str) -> str:
    """Return ``KEY=VALUE ...`` as a Python dict."""
    values = {}
    for pair in pairs.split():
        key, _, value = pair.partition("=")
        values[key] = value
        with suppress(ValueError, SyntaxError):
            values[key] = read_literal(value)
    return repr(values)


def read_literal(text: str) -> Any:
    """Read a Python literal, but leave a number with underscores as text: ``2011_09_26``.

    Such a text is the name of a scene, for example; Python would read it as 20110926.

    Raises:
        ValueError: for an expression that is not a literal.
        SyntaxError: for a text that is not an expression.
    """
    return ast.literal_eval(_Names(text).visit(ast.parse(text, mode="eval")))


class _Names(ast.NodeTransformer):
    """Replace numbers that are written with underscores by their text.

    Args:
        text: text that was parsed.
    """

    def __init__(self, text: str) -> None:
        self._text = text

    def visit_Constant(self, node: ast.Constant) -> ast.Constant:  # noqa: N802 - ast's name
        """Return the text of a number with underscores; return any other constant unchanged."""
        text = ast.get_source_segment(self._text, node) or ""
        is_name = "_" in text and isinstance(node.value, (int, float, complex))
        return ast.Constant(text) if is_name else node

    def visit_UnaryOp(self, node: ast.UnaryOp) -> ast.AST:  # noqa: N802 - ast's name
        """Return the text of a number with underscores and a sign; return others unchanged."""
        inner = self.visit(node.operand)
        if inner is node.operand or not isinstance(node.op, (ast.UAdd, ast.USub)):
            return node
        return ast.Constant(ast.get_source_segment(self._text, node))
