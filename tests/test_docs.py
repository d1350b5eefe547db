"""Documents: their code runs, and their pictures and files exist."""

import ast
import re
from pathlib import Path

import pytest

from drivemim.masking import build_mask
from drivemim.registry import MASKS
from drivemim.training.hooks.mask_schedule import MaskSchedule

REPOSITORY = Path(__file__).resolve().parents[1]
DOCUMENTS = [*sorted((REPOSITORY / "docs").rglob("*.md")), *sorted(REPOSITORY.glob("*.md"))]
MASKING = (REPOSITORY / "docs" / "guides" / "masking.md").read_text()
CODE = re.findall(r"```python\n(.*?)```", MASKING, re.DOTALL)


def test_the_masking_guides_code_runs():
    first, config, schedule = CODE
    exec(compile(first, "docs/guides/masking.md", "exec"), {})
    names = {}
    exec(compile(config + schedule, "docs/guides/masking.md", "exec"), names)
    strategy = build_mask(names["masking"])
    assert type(strategy).__name__ == "ObjectMask"
    (hook,) = names["custom_hooks"]
    assert hook.pop("type") == "drivemim.MaskSchedule"
    MaskSchedule(**hook)


def test_the_masking_guide_has_every_strategy():
    MASKS.get("RandomMask")  # registers them all
    shipped = [
        name for name, made in MASKS.module_dict.items() if made.__module__.startswith("drivemim.")
    ]
    assert [name for name in shipped if f"`{name}" not in MASKING] == []


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_links_lead_somewhere(document):
    text = document.read_text()
    links = re.findall(r"\]\(([^)#]+)[^)]*\)", text)
    broken = [link for link in links if "://" not in link and not (document.parent / link).exists()]
    assert broken == []
    tools = set(re.findall(r"\b((?:tools|examples)/\w+\.(?:py|sh))", text))
    assert [tool for tool in tools if not (REPOSITORY / tool).exists()] == []


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_code_and_configs_exist(document):
    text = document.read_text()
    for code in re.findall(r"```python\n(.*?)```", text, re.DOTALL):
        ast.parse(code)
    if document.name not in ("history.md", "CHANGELOG.md"):  # these name removed configs, too
        named = re.findall(r"((?<!/)\b(?:tools/studies/)?configs/[\w/]+\.py)\b", text)
        assert [name for name in named if not (REPOSITORY / name).is_file()] == []


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_lines_are_at_most_120_characters(document):
    """Except for tables, commands and pictures, which cannot be wrapped."""
    lines = enumerate(document.read_text().splitlines(), 1)
    unwrapped = ("|", "    ", "![")
    assert [n for n, line in lines if len(line) > 120 and not line.startswith(unwrapped)] == []
