"""Mask strategies over clips of two time steps and three cameras.

Object masks and the mixture read the annotated boxes of the footage, in which no frame of the
detectors occurs. docs/results/results.md has the commands that generate the town and build the two
indices.
"""

_NAMES = ("random", "tube", "world", "object", "loss_guided", "mixture")
_FOLDER = "tools/studies/configs/pretrain"

recipes = {
    f"{_name}_mask": {"config": f"{_FOLDER}/vit_micro_{_name}_town.py", "iterations": 1500}
    for _name in _NAMES
}
control = "random_mask"
options = {
    "train_dataloader.dataset.index": "work_dirs/recipes/footage.arrow",
    "train_dataloader.dataset.scenes": None,
    "train_dataloader.num_workers": 0,
    "train_dataloader.persistent_workers": False,
}
detector = {
    "config": "configs/detection/atss_vit_micro_town.py",
    "index": "work_dirs/recipes/town50.arrow",
    "train": "train",
    "val": "val",
    "iterations": 500,
}
