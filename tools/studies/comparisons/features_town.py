"""Features of a teacher as the target, against pixels, and against an untrained teacher.

The teacher is pretrained in a quarter of the time; its student gets the other three quarters:

    python tools/train.py configs/pretrain/vit_micro_town.py --iterations 1100 --work-dir FIRST \
        --cfg-options train_dataloader.dataset.index=work_dirs/recipes/footage.arrow
    python tools/export_backbone.py FIRST work_dirs/recipes/teacher.safetensors

``untrained.safetensors`` is made in the same way with ``--iterations 2`` and
``optim_wrapper.optimizer.lr=0``, so its features are those of a random initialisation. Iterations
are chosen so that the times, the teacher's included, are about equal: with its loading, a step
takes 1.25 times as long with ``features`` as with the default, and 1.41 times with ``average``.
"""

_base_ = "./_base_/town.py"

_FEATURES = "tools/studies/configs/pretrain/vit_micro_features_town.py"
_AVERAGE = "tools/studies/configs/pretrain/vit_micro_average_town.py"
_UNTRAINED = {"model.target.checkpoint": "work_dirs/recipes/untrained.safetensors"}

recipes = {
    "default": {"config": "configs/pretrain/vit_micro_town.py", "iterations": 4500},
    "features": {"config": _FEATURES, "iterations": 2700},
    "untrained": {"config": _FEATURES, "iterations": 2700, "options": _UNTRAINED},
    "average": {"config": _AVERAGE, "iterations": 3200},
}
control = "default"
backbones = (0, 1, 2)
