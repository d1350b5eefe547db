"""Smaller crops, and crops around annotated objects, against the default's crops.

``focus`` reads the boxes of the footage, in which no frame of the detectors occurs. Its control is
``crops``: the same sizes, placed anywhere. An iteration costs the same in all three.
"""

_base_ = "./_base_/town.py"

_CONFIG = "configs/pretrain/vit_micro_town.py"
_CROP = {"train_dataloader.dataset.augment.crop": (0.25, 1.0)}
_FOCUS = {**_CROP, "train_dataloader.dataset.augment.focus": 0.5}

recipes = {
    "default": {"config": _CONFIG, "iterations": 4500},
    "crops": {"config": _CONFIG, "iterations": 4500, "options": _CROP},
    "focus": {"config": _CONFIG, "iterations": 4500, "options": _FOCUS, "control": "crops"},
}
control = "default"
backbones = (0, 1, 2)
