"""Data samples with a detector's predictions, by hand and at random."""

import math

import numpy as np
import torch

BOX = [10.0, 10.0, 30.0, 50.0]
ELSEWHERE = [100.0, 100.0, 140.0, 130.0]


def instance(box, label=0, **extra):
    return {"bbox": box, "bbox_label": label, "ignore_flag": 0, **extra}


def sample(instances, boxes=(), labels=(), scores=(), camera="CAM_FRONT", condition="day"):
    return {
        "img_path": "frame.jpg",
        "instances": instances,
        "camera": camera,
        "condition": condition,
        "pred_instances": {
            "bboxes": torch.tensor(boxes, dtype=torch.float32).reshape(-1, 4),
            "labels": torch.tensor(labels, dtype=torch.int64),
            "scores": torch.tensor(scores, dtype=torch.float32),
        },
    }


def random_instances(generator, boxes, labels):
    count = len(boxes)
    columns = {
        "bbox": boxes.tolist(),
        "bbox_label": labels.tolist(),
        "ignore_flag": (generator.random(count) < 0.2).astype(int).tolist(),
        "distance": generator.choice([3.0, 19.0, 20.0, 33.0, 55.0, math.inf], count).tolist(),
        "visibility": generator.integers(0, 5, count).tolist(),
        "moving": generator.integers(-1, 2, count).tolist(),
    }
    columns["crowd"] = [flag * int(generator.random() < 0.5) for flag in columns["ignore_flag"]]
    return [{name: values[row] for name, values in columns.items()} for row in range(count)]


def random_samples(seed, images=25):
    """Crowded images with near misses, ties in score, unknown distances and ignored objects."""
    generator = np.random.default_rng(seed)
    samples = []
    for _ in range(images):
        count = generator.integers(0, 12)
        corners = generator.uniform(0, 150, (count, 2))
        boxes = np.concatenate([corners, corners + generator.uniform(5, 120, (count, 2))], 1)
        labels = generator.integers(0, 2, count)
        jitter = boxes + generator.normal(0, 3, boxes.shape)
        jitter[:, 2:] = np.maximum(jitter[:, 2:], jitter[:, :2] + 1)
        # Single precision, as a detector has it, so that sizes are the same for every reader.
        stray = generator.uniform(0, 150, (generator.integers(0, 6), 2))
        found = np.concatenate([jitter, np.concatenate([stray, stray + 25], 1)]).astype("float32")
        found_labels = generator.integers(0, 2, len(found))
        found_labels[:count] = np.where(generator.random(count) < 0.8, labels, 1 - labels)
        samples.append(
            sample(
                random_instances(generator, boxes, labels),
                found.tolist(),
                found_labels.tolist(),
                np.round(generator.random(len(found)), 1).tolist(),
                camera=str(generator.choice(["CAM_FRONT", "CAM_BACK"])),
                condition=str(generator.choice(["day", "night", "night rain"])),
            )
        )
    return samples
