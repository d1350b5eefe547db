"""Mistakes on the command lines of the examples are one line."""

import pytest
from in_process import run_script

SCRIPTS = ("argoverse2_to_index", "kitti_to_index", "town_to_coco", "town_to_footage",
           "town_to_rig")  # fmt: skip


@pytest.mark.parametrize("name", SCRIPTS)
def test_help_and_missing_arguments(name):
    shown = run_script(f"examples/{name}.py", "--help")
    assert shown.returncode == 0
    assert f"python examples/{name}.py " in shown.stdout
    missing = run_script(f"examples/{name}.py")
    assert missing.returncode == 2
    assert "the following arguments are required: " in missing.stderr


@pytest.mark.parametrize("name", SCRIPTS)
def test_a_missing_or_empty_folder_is_one_line(name, tmp_path):
    for source in (tmp_path / "gone", tmp_path / "empty"):
        finished = run_script(f"examples/{name}.py", source, tmp_path / source.name / "out.arrow")
        assert finished.returncode == 1
        (line,) = finished.stderr.splitlines()
        assert str(source) in line
        (tmp_path / "empty").mkdir(exist_ok=True)
