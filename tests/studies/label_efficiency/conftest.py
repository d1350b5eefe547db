"""A data set of 30 labelled frames, and fake tools that train and evaluate."""

import json
from pathlib import Path

import cv2
import numpy as np
import pytest

from drivemim.data.index.builders.frames import build_frames_index
from studies.label_efficiency.settings import Initialisation, LabelStudy

CONFIG = Path("tools/studies/configs/detection/atss_vit_micro_jitter_labels_camvid.py")
# Scenes of each split, and their frames; each frame has a car, every second one a pedestrian.
SCENES = {"train": {"a": 10, "b": 6, "c": 4}, "val": {"d": 10}}
TRAIN = """
import json, sys
from pathlib import Path
run = Path(sys.argv[sys.argv.index("--work-dir") + 1])
if Path("break").exists() and Path("break").read_text() == run.name:
    sys.exit("broken on purpose")
options = dict(option.split("=", 1) for option in sys.argv[sys.argv.index("--cfg-options") + 1:])
start = options["backbone_checkpoint"]
run.mkdir(parents=True, exist_ok=True)
content = "" if start == "None" else Path(start).read_text()
(run / f"iter_{options['train_cfg.max_iters']}.pth").write_text(content)
with open("trained.txt", "a") as file:
    file.write(run.name + "\\n")
"""
# Scores: 0.1 at the smallest fraction and 0.2 more with all, plus what the backbone file says.
TEST = """
import json, sys
from pathlib import Path
checkpoint, out = Path(sys.argv[2]), Path(sys.argv[sys.argv.index("--out") + 1])
init, fraction, seed = checkpoint.parent.name.rsplit("-", 2)
value = 0.1 + 0.2 * (float(fraction) == 1.0) + 0.01 * int(seed) + float(checkpoint.read_text() or 0)
out.write_text(json.dumps({"drivemim/mAP50": value, "drivemim/empty": float("nan")}))
with open("tested.txt", "a") as file:
    file.write(checkpoint.parent.name + "\\n")
"""


def write_index(folder, scenes=SCENES, box=(10, 20, 30, 20)):
    """Write the COCO files and images of one white pixel on black, and build the index."""
    files = []
    written = 0
    for split, lengths in scenes.items():
        images, annotations = [], []
        for scene, length in lengths.items():
            for frame in range(length):
                number = len(images) + 1
                (folder / scene).mkdir(parents=True, exist_ok=True)
                picture = np.zeros((360, 480), np.uint8)
                picture.flat[written] = 255
                cv2.imwrite(str(folder / scene / f"{frame}.png"), picture)
                written += 1
                images.append({
                    "id": number, "file_name": f"{scene}/{frame}.png", "width": 480,
                    "height": 360, "sequence": scene, "frame": frame,
                })  # fmt: skip
                for category in (1, 2) if frame % 2 else (1,):
                    annotations.append({
                        "id": len(annotations) + 1, "image_id": number, "category_id": category,
                        "bbox": list(box), "area": box[2] * box[3], "iscrowd": 0,
                    })  # fmt: skip
        categories = [{"id": 1, "name": "car"}, {"id": 2, "name": "pedestrian"}]
        document = {"images": images, "annotations": annotations, "categories": categories}
        files.append(folder / f"{split}.json")
        files[-1].write_text(json.dumps(document))
    build_frames_index([folder], folder / "index.arrow", coco=files)
    return folder / "index.arrow"


def link_configs(folder, repository):
    """Link all configs into a folder that stands in for the repository."""
    (folder / "configs").symlink_to(repository / "configs")
    (folder / "tools" / "studies").mkdir(parents=True)
    (folder / "tools" / "studies" / "configs").symlink_to(repository / "tools/studies/configs")


@pytest.fixture
def place(tmp_path, repository):
    """Fake repository: its tools only pretend to train and evaluate. It has labelled frames."""
    link_configs(tmp_path, repository)
    (tmp_path / "tools" / "train.py").write_text(TRAIN)
    (tmp_path / "tools" / "test.py").write_text(TEST)
    (tmp_path / "good.pth").write_text("0.05")
    write_index(tmp_path / "data")
    return tmp_path


@pytest.fixture
def make_study():
    """A study of two initialisations, two fractions and two seeds, with whatever is changed."""

    def make(**changes):
        settings = {
            "config": CONFIG, "index": Path("data/index.arrow"), "train": "train", "val": "val",
            "initialisations": tuple(map(Initialisation.parse, ("random", "good=good.pth"))),
            "iterations": 2,
            "work_dir": Path("work"), "fractions": (1.0, 0.1), "seeds": (0, 1),
            "metrics": ("drivemim/mAP50",),
        }  # fmt: skip
        return LabelStudy(**{**settings, **changes})

    return make
