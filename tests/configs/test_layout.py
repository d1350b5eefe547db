"""Layout of the configs: their names, and one level of bases."""

import ast
import re

import pytest
from shipped_configs import CONFIGS, STUDIES, config_name, runnable

FILES = sorted(path for root in (CONFIGS, STUDIES) for path in root.rglob("*.py"))
BASES = [path for path in FILES if "_base_" in path.parts]


def bases_of(path):
    """Return the list that a file assigns to ``_base_``, or None."""
    for node in ast.parse(path.read_text()).body:
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "_base_":
            named = ast.literal_eval(node.value)
            return [named] if isinstance(named, str) else named
    return None


def test_there_are_at_most_fifty_configs():
    assert len(list(CONFIGS.rglob("*.py"))) <= 50


@pytest.mark.parametrize("path", BASES, ids=config_name)
def test_a_base_has_no_bases_but_mmdetections(path):
    assert all(each.startswith("mmdet::") for each in bases_of(path) or ())


@pytest.mark.parametrize("path", runnable(), ids=config_name)
def test_a_config_names_all_its_bases(path):
    named = [(path.parent / each).resolve() for each in bases_of(path)]
    assert set(named) <= set(BASES)
    assert len(named) == 4, "a model, data, a schedule and what every run has"
    assert named[-1] == CONFIGS / "_base_" / "runtime.py"
    if path.is_relative_to(CONFIGS):
        assert all(each.is_relative_to(CONFIGS) for each in named), "a wheel has no studies"


@pytest.mark.parametrize("path", FILES, ids=config_name)
def test_a_config_with_a_description_changes_no_other(path):
    text = path.read_text()
    assert text.startswith("#"), "says what it is"
    assert ".pop(" not in text
    # A comprehension may fill a list in; a loop changes what another file has set.
    assert not [node for node in ast.walk(ast.parse(text)) if isinstance(node, ast.For)]
    if "nuscenes" in path.stem or "nuimages" in path.stem:
        assert len(text.splitlines()) < 35 or path in BASES


@pytest.mark.parametrize("path", runnable(), ids=config_name)
def test_a_name_has_model_backbone_and_data(path):
    backbones = "resnet50|vit_base|vit_micro" + (
        "" if path.is_relative_to(CONFIGS) else "|resnet18"
    )
    data = "nuscenes|nuimages|town|camvid|idd|frames"
    pattern = rf"([a-z0-9]+_)*({backbones})(_[a-z0-9]+)*"
    if path.parent.name == "pretrain":
        pattern = rf"({backbones})(_[a-z0-9]+)*"
    assert re.fullmatch(pattern, path.stem)
    assert re.search(rf"_({data})$", path.stem)


def test_no_two_have_one_name():
    """A shipped config is found by its name alone."""
    names = [path.stem for path in runnable()]
    assert len(set(names)) == len(names)
