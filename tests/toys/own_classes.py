"""A COCO folder with objects of five classes, and of categories that have none."""

import json

import cv2
import numpy as np

from drivemim.data.index.builders.frames import build_frames_index

FIVE = ("car", "truck", "pedestrian", "cyclist", "tram")
CATEGORIES = ("tram", "person", "car", "truck", "cyclist", "van", "building")
"""``person`` is a pedestrian by default; ``van`` is a vehicle of two classes, none of the five."""


def write_coco(folder, names=CATEGORIES, images=2):
    """Write two splits of grey images with one square of each category, and index them.

    Category number ``n`` is at x = 40 n, 32 pixels wide and 48 high; the image is 320 x 192.
    """
    for split in ("train", "val"):
        (folder / split).mkdir(parents=True, exist_ok=True)
        listed, annotations = [], []
        for number in range(images):
            grey = 60 + 20 * number + 10 * (split == "val")
            image = np.full((192, 320, 3), grey, np.uint8)
            for category in range(len(names)):
                x, y = 40 * category, 60
                image[y : y + 48, x : x + 32] = (30 * category, 255 - 30 * category, 128)
                annotations.append({
                    "id": len(annotations), "image_id": number, "category_id": category,
                    "bbox": [x, y, 32, 48], "area": 32 * 48, "iscrowd": 0,
                })  # fmt: skip
            name = f"{split}/{number}.png"
            cv2.imwrite(str(folder / name), image)
            listed.append({"id": number, "file_name": name, "width": 320, "height": 192})
        categories = [{"id": number, "name": name} for number, name in enumerate(names)]
        document = {"images": listed, "annotations": annotations, "categories": categories}
        (folder / f"{split}.json").write_text(json.dumps(document))
    files = [folder / "train.json", folder / "val.json"]
    return build_frames_index([folder], folder / "index.arrow", coco=files)
