"""An auxiliary target from lidar against none, and against the lidar of another clip.

An iteration with lidar takes about 1.13 times as long, so these recipes have fewer iterations.
docs/results/results.md has the commands that generate the town and build the two indices.
"""

_LIDAR = "tools/studies/configs/pretrain/vit_micro_lidar_town.py"
_PLACEBO = {"model.auxiliary.0.placebo": True}

recipes = {
    "default": {"config": "configs/pretrain/vit_micro_town.py", "iterations": 4500},
    "lidar": {"config": _LIDAR, "iterations": 4000},
    "placebo": {"config": _LIDAR, "iterations": 4000, "options": _PLACEBO},
}
control = "default"
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
backbones = (0, 1, 2)
