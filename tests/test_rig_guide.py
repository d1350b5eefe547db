"""Files and limits in the guide of rigs. ``test_tutorials.py`` runs its commands and code."""

import json
import re

import pytest
import toy_rigs

from drivemim.cli import index as cli

GUIDE = "docs/guides/rig.md"


@pytest.fixture(scope="module")
def guide(repository):
    return (repository / GUIDE).read_text()


def blocks_of(guide, heading):
    """Return the indented blocks of a section."""
    section = guide.partition(f"### {heading}\n")[2].partition("\n#")[0]
    found = re.findall(r"((?:^    .*\n)+)", section, re.MULTILINE)
    return ["\n".join(line[4:] for line in block.splitlines()) for block in found]


def test_the_files_in_the_guide_are_a_valid_rig(guide, tmp_path, capsys):
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


def test_the_limits_in_the_guide_are_those_of_the_code(guide):
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
