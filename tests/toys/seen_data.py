"""Labelled frames with distinct content, and backbones that record their pretraining data."""

import json

import cv2
import numpy as np
import safetensors.torch
import torch
from mmengine.config import Config

from drivemim.data.index.builders.frames import build_frames_index
from drivemim.transfer.data_record import describe_data
from drivemim.transfer.mask_reads import describe_reads


def write_frames(folder, splits, labelled=None):
    """Write images that no two share; a COCO file for each split, with a box in every image.

    Args:
        folder: of the images and files.
        splits: by split the number of frames of each sequence.
        labelled: splits that have boxes; all by default.
    """
    folder.mkdir(parents=True, exist_ok=True)
    categories = [{"id": 1, "name": "car"}, {"id": 2, "name": "pedestrian"}]
    for split, sequences in splits.items():
        images, annotations = [], []
        for name, length in sequences.items():
            (folder / name).mkdir(exist_ok=True)
            for frame in range(length):
                _write_image(folder / name / f"{frame}.png", f"{folder.name}/{name}", frame)
                number = len(images) + 1
                images.append({
                    "id": number, "file_name": f"{name}/{frame}.png", "width": 480,
                    "height": 360, "sequence": name, "frame": frame,
                })  # fmt: skip
                if labelled is None or split in labelled:
                    annotations.append({
                        "id": number, "image_id": number, "category_id": 1,
                        "bbox": [10, 20, 30, 20], "area": 600, "iscrowd": 0,
                    })  # fmt: skip
        document = {"images": images, "annotations": annotations, "categories": categories}
        (folder / f"{split}.json").write_text(json.dumps(document))


def _write_image(path, place, frame):
    """A black image with a few pixels that no other has."""
    image = np.zeros((360, 480, 3), np.uint8)
    image[0] = np.random.default_rng([*place.encode(), frame]).integers(0, 256, (480, 3))
    cv2.imwrite(str(path), image)


def index_of(folder, out, *splits, roots=()):
    """Index splits of a folder, and whole folders of images."""
    files = [folder / f"{split}.json" for split in splits]
    return build_frames_index([*([folder] if files else []), *roots], out, coco=files)


def metadata_of(*parts, masking="RandomMask", **recipe):
    """Return the metadata of an export of a run whose data sets have these settings."""
    datasets = [{"image_size": (240, 320), **part} for part in parts]
    cfg = Config({
        "model": {"masking": {"type": masking}}, "train_dataloader": {"dataset": datasets},
    })  # fmt: skip
    data = describe_data(cfg)
    reads = describe_reads(cfg, data)
    return json.loads(json.dumps({
        "architecture": {"type": "drivemim.ViT"}, "input_size": [240, 320], "fingerprint": [],
        "normalization": {"mean": [0.0] * 3, "std": [1.0] * 3, "bgr_to_rgb": True}, "data": data,
        "recipe": {"reads": reads, "started_from": None, **recipe},
    }))  # fmt: skip


def write_backbone(path, metadata):
    """Write an export that holds no weights to speak of."""
    state = {"weight": torch.zeros(1)}
    encoded = None if metadata is None else {"drivemim": json.dumps(metadata), "format": "pt"}
    path.write_bytes(safetensors.torch.save(state, metadata=encoded))
    return path
