"""Mask strategies over clips of two time steps and three cameras.

Object masks and the mixture read the annotated boxes of the footage, in which no frame of the
detectors occurs.
"""

_base_ = "./_base_/town.py"

_NAMES = ("random", "tube", "world", "object", "loss_guided", "mixture")
_FOLDER = "tools/studies/configs/pretrain"

recipes = {
    f"{_name}_mask": {"config": f"{_FOLDER}/vit_micro_{_name}_town.py", "iterations": 1500}
    for _name in _NAMES
}
control = "random_mask"
options = {
    "train_dataloader.dataset.scenes": None,
    "train_dataloader.num_workers": 0,
    "train_dataloader.persistent_workers": False,
}
