"""The tutorials and the guide of rigs, followed word for word; the results are as they say."""

import json
import re
import shutil

import cv2
import numpy as np
import pytest
import torch
from documents import follow, linked_folder, steps_of
from in_process import REPOSITORY, run_script
from PIL import Image

import drivemim

pytestmark = pytest.mark.slow

TUTORIALS = {path.stem: path for path in sorted((REPOSITORY / "docs" / "tutorials").glob("*.md"))}
TOWN = (
    "python tools/generate_town.py --out work_dirs/tutorial/town --scenes 2 --seconds 2 "
    "--image-size 192 320"
)
TOWN_INDEX = "town/drivemim-v1.0-mini.arrow"


@pytest.fixture(scope="module")
def town(tmp_path_factory):
    """The town that every tutorial generates with its first command."""
    folder = linked_folder(tmp_path_factory.mktemp("town"))
    done = run_script(*TOWN.split()[1:], folder=folder)
    assert done.returncode == 0, done.stderr
    return folder / "work_dirs" / "tutorial" / "town"


@pytest.fixture
def start(town, tmp_path):
    """A folder like the repository, with the town."""
    shutil.copytree(town, tmp_path / "work_dirs" / "tutorial" / "town")
    return linked_folder(tmp_path)


def test_each_tutorial_has_a_test():
    assert set(TUTORIALS) == {"nuscenes", "frames", "detector", "rig"}


@pytest.mark.parametrize("name", TUTORIALS)
def test_every_indented_command_and_block_is_a_step(name):
    text = TUTORIALS[name].read_text()
    steps = list(steps_of(text))
    assert steps[0] == ("command", TOWN)
    kinds = [kind for kind, _ in steps]
    assert kinds.count("command") == text.count("\n    python ")
    assert kinds.count("code") == text.count("```") / 2
    indented = [line for line in text.splitlines() if line.startswith("    ")]
    continued = sum(line.endswith("\\") for line in indented)
    code = sum(step.count("\n    ") for kind, step in steps if kind == "code")
    assert len(indented) == text.count("\n    python ") + continued + code


def test_nuscenes(start):
    printed = follow("docs/tutorials/nuscenes.md", start, skip=1)
    out = start / "work_dirs" / "tutorial" / "nuscenes"
    index = drivemim.open_index(out.parent / TOWN_INDEX)
    assert (len(index.scenes), len(index.cameras)) == (2, 6)
    assert (out / "pretrain" / "iter_10.pth").is_file()
    losses = losses_of(printed, 10)
    assert 1.2 < losses[1] < 1.6
    assert losses[10] < 1.1
    assert {path.name for path in (out / "pictures").iterdir()} == {
        "clip-0.jpg", "reconstruction-0.jpg",
    }  # fmt: skip
    assert_pictures(out / "pictures", 2)
    assert "v1.0-mini" in (out / "backbone.md").read_text()
    assert "features equal the pretrainer's" in printed
    assert head_rows(out / "detector" / "iter_20.pth", "bbox_head.atss_cls.weight") == 2
    metrics = json.loads((out / "metrics.json").read_text())
    assert {"drivemim/pedestrian_AP50", "drivemim/vehicle_AP50"} <= set(metrics)
    assert max(metrics[f"drivemim/{name}_AP50"] for name in ("pedestrian", "vehicle")) < 0.1
    found = json.loads((out / "detections" / "predictions.json").read_text())["images"]
    assert {each["scene"] for each in found} == set(index.scenes.name) - {"scene-0061"}
    assert sum(len(each["detections"]) for each in found) > 0
    assert_pictures(out / "detections", 4)


def test_frames(start):
    printed = follow("docs/tutorials/frames.md", start, skip=1)
    out = start / "work_dirs" / "tutorial" / "frames"
    assert "torch.Size([1, 128, 12, 20]) [16]\n" in printed
    index = drivemim.open_index(out / "index.arrow")
    assert len(index.scenes) == 2
    assert len(index.frames) == 9 + 4  # images of a folder; 1.8 s of video, 2 frames per second
    assert_pictures(out / "pictures", 2)
    boxes = drivemim.open_index(out.parent / "coco" / "boxes.arrow")
    files = [json.loads((out.parent / "coco" / f"{name}.json").read_text())
             for name in ("train", "val")]  # fmt: skip
    assert set(boxes.scenes.split) == {"train", "val"}
    assert len(boxes.boxes) == sum(len(each["annotations"]) for each in files) > 100
    assert "features equal the pretrainer's" in printed
    run = out.parent / "boxes"
    assert head_rows(run / "iter_20.pth", "bbox_head.atss_cls.weight") == 2
    found = json.loads((run / "video" / "predictions.json").read_text())["images"]
    assert len(found) == 9
    assert sum(len(each["detections"]) for each in found) > 0
    video = cv2.VideoCapture(str(run / "video" / "back.mp4"))
    frames = [video.read()[1] for _ in found]
    assert all(frame.shape == (192, 320, 3) and frame.std() > 10 for frame in frames)


def test_detector(start):
    printed = follow("docs/tutorials/detector.md", start, skip=1)
    out = start / "work_dirs" / "tutorial"
    assert head_rows(out / "classes" / "iter_10.pth", "bbox_head.atss_cls.weight") == 3
    for name in ("car", "large vehicle", "person"):
        assert f"{name}_AP50: 0.0" in printed
    assert re.search(r"^all +120 +120 ", printed, re.MULTILINE)
    assert "features equal the pretrainer's" in printed
    assert len((out / "transfer.py").read_text().splitlines()) < 30
    anchors = 9
    assert head_rows(out / "mine" / "epoch_1.pth", "bbox_head.retina_cls.weight") == 4 * anchors
    assert "coco/bbox_mAP: 0.0" in printed
    predicted = json.loads((out / "mine" / "pictures" / "predictions.json").read_text())
    names = {found["class"] for each in predicted["images"] for found in each["detections"]}
    assert names <= {"car", "truck", "bus", "person"}
    assert names
    assert_pictures(out / "mine" / "pictures", 10)


def test_rig(start):
    printed = follow("docs/tutorials/rig.md", start, skip=1)
    printed += follow("docs/guides/rig.md", start)
    out = start / "work_dirs" / "tutorial" / "rig"
    assert "no problems in 2 scenes with 108 images" in printed
    index = drivemim.open_index(out / "rig.arrow")
    assert index.info.source == "rig"
    assert len(index.scenes) == 2
    assert len(index.boxes) > 100
    assert {path.name for path in (out / "pictures").iterdir()} == {
        "clip-0.jpg", "reconstruction-0.jpg",
    }  # fmt: skip
    assert_pictures(out / "pictures", 2)
    for run in ("run", "single"):
        assert (out / run / "iter_10.pth").is_file()
    assert (out / "backbone.safetensors").is_file()
    # The box of the guide is 12 m ahead of the ego, which has driven 4.5 m.
    built = drivemim.open_index(out / "monday.arrow")
    assert built.boxes.center[0].tolist() == pytest.approx([12 + 4.5, 1.5, 0.8])


def losses_of(printed, iterations):
    """Return the loss of each iteration that was logged by the first run of this length."""
    lines = re.findall(rf"Iter\(train\) \[ *(\d+)/{iterations}\].* loss: ([\d.]+)", printed)
    return {int(iteration): float(loss) for iteration, loss in lines}


def head_rows(checkpoint, name):
    """Return the number of outputs of a layer in a checkpoint, by the name of its weight."""
    return len(torch.load(checkpoint, weights_only=False)["state_dict"][name])


def assert_pictures(folder, count):
    """Check that a folder has this many pictures, none of one colour."""
    pictures = sorted(folder.glob("*.jpg"))
    assert len(pictures) == count
    for path in pictures:
        with Image.open(path) as image:
            assert np.asarray(image).std() > 10, path
