"""The pyramid decoder against fewer or more blocks, levels and channels, for about the same time.

docs/results/results.md has the commands that generate the town and build the two indices.
"""

_CONFIG = "configs/pretrain/vit_micro_town.py"
_THIN = {
    "model.decoder.depth": 1,
    "model.decoder.neck.scales": (1.0,),
    "model.decoder.neck.out_channels": 32,
}

recipes = {
    "default": {"config": _CONFIG, "iterations": 4500},
    "thin": {"config": _CONFIG, "iterations": 6700, "options": _THIN},
    "deep": {"config": _CONFIG, "iterations": 3800, "options": {"model.decoder.depth": 4}},
    "narrow": {"config": _CONFIG, "iterations": 4700, "options": {"model.decoder.embed_dims": 64}},
    "wide": {"config": _CONFIG, "iterations": 3800, "options": {"model.decoder.embed_dims": 256}},
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
