"""The configs of the repository, and full-size ones made small enough to train on two CPU cores."""

from pathlib import Path

from drivemim.config.loading import load_config
from drivemim.config.nested import walk

REPOSITORY = Path(__file__).resolve().parents[1]
CONFIGS = REPOSITORY / "configs"
STUDIES = REPOSITORY / "tools" / "studies" / "configs"
SIZE = (192, 320)
# Settings of necks and heads: (name, full-size value) -> value of the small config.
SMALLER = {
    ("in_channels", 256): 64,
    ("out_channels", 256): 64,
    ("feat_channels", 256): 64,
    ("conv_out_channels", 256): 64,
    ("fc_out_channels", 1024): 256,
    ("embed_dims", 256): 64,
    ("num_feats", 128): 32,
    ("feedforward_channels", 2048): 256,
    ("num_layers", 6): 2,
    ("num_queries", 900): 100,
    ("max_per_img", 300): 100,
    ("max_per_img", 1000): 200,
    ("max_per_img", 2000): 200,
    ("nms_pre", 1000): 300,
    ("nms_pre", 2000): 300,
    ("nms_pre", 30000): 300,
    ("num", 512): 128,
    ("num", 256): 20_000,  # every anchor, so that every level of the neck learns
    ("allowed_border", 0): -1,  # the largest anchors are larger than the images
    ("type", "SyncBN"): "BN",  # the other kind needs a GPU
}


def runnable(*folders):
    """Return every config that trains something: no base files, no lists of masks.

    With ``folders``, return only the configs in folders of these names.
    """
    paths = sorted(path for root in (CONFIGS, STUDIES) for path in root.rglob("*.py"))
    paths = [path for path in paths if not {"_base_", "masks"} & set(path.parts)]
    return [path for path in paths if not folders or path.parent.name in folders]


def config_name(path):
    return str(path.relative_to(CONFIGS if path.is_relative_to(CONFIGS) else STUDIES.parent))


def small_config(path, **more):
    """Return a full-size detector's config with a small backbone, few channels and small images.

    A config that is small already is only changed by the options ``more``.
    """
    if "resnet50" not in path.stem and "vit_base" not in path.stem:
        return load_config(path, more)
    model = load_config(path).model
    options = {f"{loader}_dataloader.num_workers": 0 for loader in ("train", "val", "test")}
    for key in "train_dataloader.dataset", "val_dataloader", "test_dataloader":
        options[f"{key}.dataset.pipeline.0.image_size"] = SIZE
    if model.backbone.type == "ResNet":
        channels = [64, 128, 256, 512][-len(model.neck.in_channels) :]
        options |= {"model.backbone.depth": 18, "model.neck.in_channels": channels}
    else:
        options |= {"model.backbone.arch": "micro", "model.neck.in_channels": 128}
        options |= {"model.backbone.global_blocks": 2}
    if model.type == "DINO":
        options["model.bbox_head.embed_dims"] = 64
    for key, value in walk(model, "model"):
        setting = key.rpartition(".")[2], value if isinstance(value, (int, str)) else None
        if setting in SMALLER and not key.startswith("model.backbone."):
            options[key] = SMALLER[setting]
    return load_config(path, {**options, **more})
