"""The pyramid decoder against fewer or more blocks, levels and channels, in about equal time."""

_base_ = "./_base_/town.py"

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
backbones = (0, 1, 2)
