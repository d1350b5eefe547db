"""Write a generated town's boxes as COCO files: python examples/town_to_coco.py TOWN OUT.

An example of a script that writes ``OUT/train.json`` and ``OUT/val.json`` for images elsewhere. Its
categories are ``car``, ``truck``, ``bus`` and ``person``; other objects are left out.
"""

import json
from pathlib import Path
from typing import Any

import numpy as np

import drivemim
from drivemim.arguments import run_with_paths
from drivemim.array_types import Ints
from drivemim.data.boxes.ground_truth import frame_boxes

CATEGORIES = {
    "vehicle.car": "car",
    "vehicle.truck": "truck",
    "vehicle.bus": "bus",
    "human": "person",
}
NAMES = list(CATEGORIES.values())
SMALLEST = 3.0  # narrower or lower boxes are left out; pixels


def main(town: Path, out: Path) -> None:
    """Write one file per split."""
    out.mkdir(parents=True, exist_ok=True)
    index = drivemim.build_index("nuscenes", town, version="v1.0-mini", out=out / "town.arrow")
    for split in ("train", "val"):
        scenes = index.scene_rows(f"mini_{split}")
        chosen = np.isin(index.frames.scene, scenes) & index.frames.keyframe
        rows = np.flatnonzero(chosen)
        (out / f"{split}.json").write_text(json.dumps(coco_of(index, rows)))
        print(f"{out / split}.json: {len(rows)} images")


def coco_of(index: drivemim.FrameIndex, rows: Ints) -> dict[str, Any]:
    """Return the images of these frames, and the boxes of the objects in them."""
    images = [
        {
            "id": int(row),
            "file_name": index.frames.path[row],
            "width": int(index.frames.width[row]),
            "height": int(index.frames.height[row]),
        }
        for row in rows
    ]
    annotations = []
    found = frame_boxes(index, rows, keep_unlabelled=True, min_size=SMALLEST)
    for number, (x1, y1, x2, y2) in enumerate(found.boxes.tolist()):
        category = index.categories[index.boxes.category[found.box[number]]]
        names = [name for start, name in CATEGORIES.items() if category.startswith(start)]
        if not names:
            continue
        annotations.append(
            {
                "id": number,
                "image_id": int(rows[found.frame[number]]),
                "category_id": NAMES.index(names[0]),
                "bbox": [x1, y1, x2 - x1, y2 - y1],
                "area": (x2 - x1) * (y2 - y1),
                # nuScenes' level 1: less than 40 % is visible. Detectors then ignore the object.
                "iscrowd": int(found.visibility[number] == 1),
            }
        )
    categories = [{"id": number, "name": name} for number, name in enumerate(NAMES)]
    return {"images": images, "annotations": annotations, "categories": categories}


if __name__ == "__main__":
    run_with_paths(main, __doc__)
