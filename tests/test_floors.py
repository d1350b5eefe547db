"""Rules of imports between folders, and of private parts of other packages."""

import ast
import os
import re
import subprocess
import sys
from collections import Counter
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[1]
SOURCES = sorted([*REPOSITORY.glob("drivemim/**/*.py"), *REPOSITORY.glob("tools/**/*.py")])
SHORT = sorted([*SOURCES, *REPOSITORY.glob("examples/*.py"), *REPOSITORY.glob("tests/**/*.py")])
TOOLS = REPOSITORY / "tools"
# ``os._exit`` is public and documented, in spite of its name.
PUBLIC = {"_exit"}
ALLOWED = {REPOSITORY / "drivemim" / "compat.py"}


def private_imports(source):
    """Dotted names imported from other packages that have a private part."""
    found = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        else:
            continue
        for name in names:
            parts = name.split(".")
            foreign = parts[0] not in ("drivemim", "__future__")
            if foreign and any(part.startswith("_") for part in parts):
                found.append(name)
    return found


def names_we_define(sources):
    """Names of functions, classes, variables and attributes that any of our files defines."""
    names = set()
    for source in sources:
        for node in ast.walk(ast.parse(source)):
            if isinstance(node, (ast.FunctionDef, ast.ClassDef)):
                names.add(node.name)
            elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
                names.add(node.id)
            elif isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store):
                is_own = isinstance(node.value, ast.Name) and node.value.id == "self"
                names |= {node.attr} if is_own else set()
    return names


def private_attributes(source, own):
    """Private attributes that a file uses and no file of ours defines: those of other packages."""
    found = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Attribute):
            name = node.attr
        elif (
            isinstance(node, ast.Call)
            and isinstance(node.func, ast.Name)
            and node.func.id in ("getattr", "setattr", "hasattr", "delattr")
            and len(node.args) > 1
            and isinstance(node.args[1], ast.Constant)
        ):
            name = str(node.args[1].value)
        else:
            continue
        if name.startswith("_") and not name.startswith("__") and name not in own | PUBLIC:
            found.append(name)
    return found


def test_only_compat_uses_private_attributes_of_other_packages():
    own = names_we_define(path.read_text() for path in SOURCES if path not in ALLOWED)
    offenders = {
        str(path.relative_to(REPOSITORY)): found
        for path in SOURCES
        if path not in ALLOWED and (found := private_attributes(path.read_text(), own))
    }
    assert offenders == {}
    (compat,) = ALLOWED
    assert "_annealing_cos" in private_attributes(compat.read_text(), own)


@pytest.mark.parametrize(
    ("source", "found"),
    [
        ("Scheduler._annealing_cos", ["_annealing_cos"]),
        ("self._indices", ["_indices"]),
        ("self._mine = 1; self._mine", []),
        ("_LIMIT = 1; module._LIMIT", []),
        ("other._theirs = 1", ["_theirs"]),
        ("class A:\n    def _own(self): return self._own()", []),
        ("getattr(runner, '_resume')", ["_resume"]),
        ("value.__class__; getattr(value, '__name__')", []),
    ],
)
def test_private_attributes_are_recognised(source, found):
    assert private_attributes(source, names_we_define([source])) == found


def shape_suffixes(tree):
    """Shape suffixes of a module's names, each with such a name."""
    suffixes = {}
    for node in ast.walk(tree):
        name = getattr(node, "id", getattr(node, "arg", None)) or ""
        suffix = re.fullmatch(r"_?[a-z]\w*_([A-Zhw0-9]*[A-Z][A-Zhw0-9]*)", name)
        suffixes |= {suffix[1]: name} if suffix else {}
    return suffixes


def shape_letters(tree):
    """Letters of the shape suffixes of a module's names, each with such a name."""
    suffixes = shape_suffixes(tree).items()
    return {letter: name for suffix, name in suffixes for letter in re.findall("[A-Zhw]", suffix)}


def explained_letters(text):
    """Letters of a list such as "B batch, T time steps, H W pixels, L = h*w patches"."""
    words = re.findall(r"(?:^|[\s,])((?:[A-Zhw] )+)", text)
    return set("".join(words).replace(" ", ""))


def test_every_shape_letter_is_explained():
    """In the table of words.md, or in the line "Letters:" of the module's docstring."""
    words = (REPOSITORY / "docs" / "reference" / "words.md").read_text()
    table = words.partition("## Shape letters")[2]
    cells = re.findall(r"^\| (`[A-Zhw]`(?:, `[A-Zhw]`)*) \|", table, re.MULTILINE)
    common = set(re.findall("[A-Zhw]", "".join(cells)))
    assert common == set("BTNCHWhwLKJDMFVX")
    clips = ast.get_docstring(ast.parse((REPOSITORY / "drivemim" / "clips.py").read_text()))
    repeated = clips.partition("everywhere: ")[2].partition(". Modules")[0]
    assert explained_letters(repeated.replace("\n", " ")) == common
    lacking = {}
    for path in REPOSITORY.glob("drivemim/**/*.py"):
        tree = ast.parse(path.read_text())
        own = explained_letters((ast.get_docstring(tree) or "").partition("Letters: ")[2])
        for letter in shape_letters(tree).keys() - common - own:
            lacking[str(path.relative_to(REPOSITORY))] = shape_letters(tree)[letter]
    assert lacking == {}


def test_lists_of_data_explain_their_letter():
    """In folders without channels (C, D) and hidden patches (J), the letters mean other things."""
    lacking = {}
    for folder in ("data", "evaluation", "town", "training", "visualization"):
        for path in REPOSITORY.glob(f"drivemim/{folder}/**/*.py"):
            tree = ast.parse(path.read_text())
            own = explained_letters((ast.get_docstring(tree) or "").partition("Letters: ")[2])
            for suffix, name in shape_suffixes(tree).items():
                if re.fullmatch("[CDJ][0-9]*", suffix) and suffix[0] not in own:
                    lacking[str(path.relative_to(REPOSITORY))] = name
    assert lacking == {}


def test_shape_letters_are_found():
    tree = ast.parse("images_BTNCHW = f(points_P3, LARGEST_X, _rows_hw, mask_BKh)")
    assert sorted(shape_letters(tree)) == sorted("BTNCHWPKh")
    assert shape_suffixes(tree)["P3"] == "points_P3"
    assert explained_letters("P points or boxes, H W pixels, L = h*w patches") == set("PHWL")


def test_a_folder_imports_only_from_the_floors_below():
    """In a process of its own: import-linter disables the loggers of its process."""
    code = (
        "from importlinter.cli import lint_imports; raise SystemExit(lint_imports(no_cache=True))"
    )
    path = os.pathsep.join([str(REPOSITORY), os.environ.get("PYTHONPATH", "")])
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=REPOSITORY, env={**os.environ, "PYTHONPATH": path}, capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout


def code_lines(function):
    """Number of lines of a function without its docstring."""
    first = function.body[0]
    has_docstring = ast.get_docstring(function) is not None
    docstring = first.end_lineno - first.lineno + 1 if has_docstring else 0
    return function.end_lineno - function.lineno + 1 - docstring


def test_files_and_functions_are_short():
    """Limits as in "Style" of CONTRIBUTING.md."""
    long_files, long_functions = [], []
    for path in SHORT:
        text, limit = path.read_text(), 120 if path.parent == TOOLS else 400
        if len(text.splitlines()) > limit:
            long_files.append(str(path.relative_to(REPOSITORY)))
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.FunctionDef) and code_lines(node) > 60:
                long_functions.append(node.name)
    assert (long_files, long_functions) == ([], [])


def test_lines_of_code_are_counted_without_the_docstring():
    source = 'def f(\n    x,\n):\n    """One.\n\n    Two.\n    """\n    return x\n'
    (function,) = ast.parse(source).body
    assert code_lines(function) == 4


def test_the_package_names_no_script_of_the_repository():
    """A wheel does not contain the scripts."""
    package = REPOSITORY.glob("drivemim/**/*.py")
    assert [path.name for path in package if "tools/" in path.read_text()] == []


def test_only_compat_imports_private_parts():
    offenders = {
        str(path.relative_to(REPOSITORY)): found
        for path in SOURCES
        if path not in ALLOWED and (found := private_imports(path.read_text()))
    }
    assert offenders == {}


@pytest.mark.parametrize(
    ("source", "found"),
    [
        ("from torch._utils import x", ["torch._utils.x"]),
        ("import mmcv._ext", ["mmcv._ext"]),
        ("from mmengine.runner import _load", ["mmengine.runner._load"]),
        ("from __future__ import annotations", []),
        ("from torch.utils.data import Dataset", []),
        ("from drivemim.data import _mine", []),
        ("from . import _mine", []),
    ],
)
def test_private_imports_are_recognised(source, found):
    assert private_imports(source) == found


def test_public_names_and_modules_of_the_package_are_unique():
    """One name has one meaning. Commands may share names: each module of ``cli`` has a ``main``."""
    modules, names = Counter(), Counter()
    for path in sorted(REPOSITORY.glob("drivemim/**/*.py")):
        if "cli" in path.parts:
            continue
        if path.name != "__init__.py":
            modules[path.stem] += 1
        for node in ast.parse(path.read_text()).body:
            if isinstance(node, (ast.FunctionDef, ast.ClassDef)):
                names[node.name] += 1
            elif isinstance(node, ast.Assign) and "speaks_python(" not in ast.unparse(node.value):
                # With ``speaks_python``, it is the same function with messages for Python.
                names.update(each.id for each in node.targets if isinstance(each, ast.Name))
    assert [name for name, count in modules.items() if count > 1] == []
    repeated = [name for name, count in names.items() if count > 1]
    assert [name for name in repeated if not name.startswith("_")] == []


def test_every_package_that_is_imported_is_a_dependency():
    """Even if another dependency happens to install it."""
    text = (REPOSITORY / "pyproject.toml").read_text()
    listed = re.search(r"^dependencies = \[(.*?)^\]", text, re.DOTALL | re.MULTILINE)[1]
    declared = set(re.findall(r'"([a-z0-9-]+)', listed))
    imported = set()
    for path in REPOSITORY.glob("drivemim/**/*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import):
                imported |= {alias.name.partition(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.level == 0:
                imported.add(node.module.partition(".")[0])
    providers = packages_distributions()
    foreign = imported - sys.stdlib_module_names - {"drivemim"}
    assert "torch" in foreign
    lacking = {name for name in foreign if not declared & {p.lower() for p in providers[name]}}
    assert lacking == set()
