"""The guide of rigs, followed word for word."""

import json
import re
import shlex

import pytest
import toy_rigs
from in_process import run_script

import drivemim
from drivemim.cli import index as cli

GUIDE = "docs/guides/rig.md"


@pytest.fixture(scope="module")
def guide(repository):
    return (repository / GUIDE).read_text()


@pytest.fixture(scope="module")
def folder(guide, repository, tmp_path_factory):
    """A folder like the repository, in which the guide's commands have been run, in order."""
    folder = tmp_path_factory.mktemp("guide")
    for name in ("tools", "examples", "configs", "tests"):
        (folder / name).symlink_to(repository / name)
    for command in commands_of(guide):
        done = run_script(*command[1:], folder=folder)
        assert done.returncode == 0, f"{shlex.join(command)}: {done.stdout}{done.stderr}"
    return folder


def commands_of(guide):
    """Every indented command, with its continuation lines."""
    text = guide.replace("\\\n", " ")
    return [shlex.split(line) for line in re.findall(r"^    (python .*)$", text, re.MULTILINE)]


def blocks_of(guide, heading):
    """The indented blocks of a section."""
    section = guide.partition(f"### {heading}\n")[2].partition("\n#")[0]
    found = re.findall(r"((?:^    .*\n)+)", section, re.MULTILINE)
    return ["\n".join(line[4:] for line in block.splitlines()) for block in found]


@pytest.mark.slow
def test_every_command_runs(guide, folder):
    assert len(commands_of(guide)) == 7
    assert guide.count("\n    python ") == 7
    rig = folder / "work_dirs" / "rig"
    assert {path.name for path in (rig / "pictures").iterdir()} == {
        "clip-0.jpg", "reconstruction-0.jpg",
    }  # fmt: skip
    index = drivemim.open_index(rig / "rig.arrow")
    assert index.info.source == "rig"
    assert len(index.scenes) == 2
    assert len(index.boxes) > 100
    for run in ("run", "single"):
        assert (rig / run / "iter_10.pth").is_file()


@pytest.mark.slow
def test_its_code_runs(guide, folder, monkeypatch):
    monkeypatch.chdir(folder)
    (code,) = re.findall(r"```python\n(.*?)```", guide, re.DOTALL)
    names = {}
    exec(compile(code, GUIDE, "exec"), names)
    assert names["index"].boxes.center[0].tolist() == pytest.approx([12 + 4.5, 1.5, 0.8])


def test_its_files_are_a_rig(guide, tmp_path, capsys):
    (calibration,) = blocks_of(guide, "calibration.json")
    (poses,) = blocks_of(guide, "poses.csv")
    (boxes,) = blocks_of(guide, "boxes.csv")
    rig = toy_rigs.write_rig(tmp_path / "drives")
    (rig / "monday" / "back").rename(rig / "monday" / "unused")
    for path in (rig / "monday" / "unused").iterdir():
        path.unlink()
    document = json.loads(calibration)
    document["cameras"]["front"] |= {"width": 64, "height": 48, "cx": 32.0, "cy": 24.0}
    (rig / "calibration.json").write_text(json.dumps(document))
    for path in sorted((rig / "monday" / "front").iterdir())[1:]:
        path.unlink()
    (rig / "monday" / "poses.csv").write_text(poses)
    (rig / "monday" / "boxes.csv").write_text(boxes)
    (words,) = re.findall(r"scene\.json +optional: (\{.*\})", guide)
    (rig / "monday" / "scene.json").write_text(words)
    assert cli.main(["rig", "--root", str(rig), "--check"]) == 0
    assert capsys.readouterr().out == "no problems in 1 scenes with 1 images and 1 boxes\n"


def test_its_limits_are_those_of_the_code(guide):
    from drivemim.data.boxes.ground_truth import LONGEST_LINK, LONGEST_STILL
    from drivemim.data.index.builders.scene_samples import LARGEST_LAG, LONGEST_STRETCH
    from drivemim.data.index.builders.trajectory import BASELINE, LONGEST_BEYOND, LONGEST_POSE_GAP

    text = " ".join(guide.split())
    assert f"more than {LONGEST_BEYOND / 1e6:g} s before" in text
    assert f"two poses more than {LONGEST_POSE_GAP / 1e6:g} s apart" in text
    assert f"at most {LARGEST_LAG / 1e6:g} s away" in text
    assert f"at most {LONGEST_STRETCH / 1e6:g} s apart" in text
    assert f"or if these are more than {LONGEST_LINK / 1e6:g} s away" in text
    assert f"stands still in the images at most {LONGEST_STILL / 1e6:g} s before it" in text
    assert f"mean motion of the nearest {BASELINE / 1e6:g} s" in text
