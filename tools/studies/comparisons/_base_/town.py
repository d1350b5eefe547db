"""Pretraining on the footage of one town, and a detector of another.

docs/results/results.md has the commands that generate the towns and build the two indices.
"""

options = {
    "train_dataloader.dataset.index": "work_dirs/recipes/footage.arrow",
}
detector = {
    "config": "configs/detection/atss_vit_micro_town.py",
    "index": "work_dirs/recipes/town50.arrow",
    "train": "train",
    "val": "val",
    "iterations": 500,
}
