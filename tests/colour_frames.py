"""Labelled frames on which any feature of colour finds the objects."""

import json
from pathlib import Path

import cv2
import numpy as np

from drivemim.data.index.builders.frames import build_frames_index
from drivemim.data.index.frame_index import FrameIndex


def write_colour_frames(folder: Path) -> FrameIndex:
    """Write two sequences of grey frames, each with a green pedestrian and a red car.

    Each object covers a quarter of the image.

    Args:
        folder: folder for the sequences ``train`` and ``val``, of six frames each.
    """
    random = np.random.default_rng(0)
    for split in ("train", "val"):
        images, annotations = [], []
        for number in range(6):
            image = random.integers(90, 120, (16, 16, 3), dtype=np.uint8)
            for label, (x, y) in enumerate(random.permutation([(0, 0), (8, 0), (0, 8)])[:2]):
                image[y : y + 8, x : x + 8] = [(0, 200, 0), (0, 0, 200)][label]
                annotations.append({
                    "id": len(annotations), "image_id": number, "category_id": label,
                    "bbox": [int(x), int(y), 8, 8], "area": 64, "iscrowd": 0,
                })  # fmt: skip
            name = f"{split}/{number}.png"
            (folder / split).mkdir(exist_ok=True)
            cv2.imwrite(str(folder / name), image)
            images.append({"id": number, "file_name": name, "width": 16, "height": 16})
        categories = [{"id": 0, "name": "pedestrian"}, {"id": 1, "name": "car"}]
        document = {"images": images, "annotations": annotations, "categories": categories}
        (folder / f"{split}.json").write_text(json.dumps(document))
    files = [folder / "train.json", folder / "val.json"]
    return build_frames_index([folder], folder / "index.arrow", coco=files)


def write_small_config(repository: Path, index: FrameIndex, path: Path) -> Path:
    """Write a pretraining config of a small ViT on the frames of ``train``, and return its path."""
    base = repository / "tests" / "toys" / "configs" / "vit.py"
    path.write_text(f"""
_base_ = {str(base)!r}
train_dataloader = dict(dataset=dict(
    _delete_=True, type='ClipDataset', index={str(index)!r}, image_size=(64, 96), scenes='train'))
""")
    return path
