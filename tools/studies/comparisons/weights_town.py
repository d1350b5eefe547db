"""Weights in the loss: more for the patches of annotated objects, a little for visible patches.

``objects`` reads the boxes of the footage, in which no frame of the detectors occurs. Its control
is ``placebo``, with the boxes of another clip. An iteration costs the same in all recipes except
``visible``, whose decoder predicts every patch, not only the hidden ones.
"""

_base_ = "./_base_/town.py"

_CONFIG = "configs/pretrain/vit_micro_town.py"
_OBJECTS = {"model.patch_weights.type": "ObjectWeights", "model.patch_weights.weight": 4.0}
_PLACEBO = {**_OBJECTS, "model.patch_weights.placebo": True}
_PIXELS = {"type": "NormalizedPixels", "eps": 0.05}
_VISIBLE = {"model.auxiliary": [{"type": "VisiblePatches", "target": _PIXELS, "weight": 0.1}]}

recipes = {
    "default": {"config": _CONFIG, "iterations": 4500},
    "visible": {"config": _CONFIG, "iterations": 4300, "options": _VISIBLE},
    "objects": {"config": _CONFIG, "iterations": 4500, "options": _OBJECTS, "control": "placebo"},
    "placebo": {"config": _CONFIG, "iterations": 4500, "options": _PLACEBO},
}
control = "default"
backbones = (0, 1, 2)
