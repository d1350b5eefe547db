"""An auxiliary target from lidar against none, and against the lidar of another clip.

An iteration with lidar takes about 1.13 times as long, so these recipes have fewer iterations.
"""

_base_ = "./_base_/town.py"

_LIDAR = "tools/studies/configs/pretrain/vit_micro_lidar_town.py"
_PLACEBO = {"model.auxiliary.0.placebo": True}

recipes = {
    "default": {"config": "configs/pretrain/vit_micro_town.py", "iterations": 4500},
    "lidar": {"config": _LIDAR, "iterations": 4000},
    "placebo": {"config": _LIDAR, "iterations": 4000, "options": _PLACEBO},
}
control = "default"
backbones = (0, 1, 2)
