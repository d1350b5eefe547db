"""Small pretrained models to export, and detectors that their exports fit."""

from mmengine.registry import DefaultScope

from drivemim.training.run import train

RESNET = {"type": "mmdet.ResNet", "depth": 18, "base_channels": 8}
VIT = {"type": "drivemim.ViT", "embed_dims": 16, "depth": 3, "num_heads": 2, "patch_size": 8}
NORMALIZATION = {
    "mean": [123.675, 116.28, 103.53],
    "std": [58.395, 57.12, 57.375],
    "bgr_to_rgb": True,
}


def pretrain(repository, folder, name):
    config = repository / "tests" / "toys" / "configs" / f"{name}.py"
    train(config, work_dir=folder / f"pretrain_{name}")
    return folder / f"pretrain_{name}" / "iter_2.pth"


def detector(backbone, **preprocessor):
    from mmdet.registry import MODELS

    settings = {"type": "DetDataPreprocessor", "pad_size_divisor": 128, **NORMALIZATION}
    neck = {"type": "FPN", "in_channels": [8, 16, 32, 64], "out_channels": 8, "num_outs": 5}
    if backbone["type"] == "drivemim.ViT":
        neck = {"type": "drivemim.SimpleFeaturePyramid", "in_channels": 16, "out_channels": 8}
    config = {
        "type": "RetinaNet",
        "backbone": dict(backbone),
        "neck": neck,
        "bbox_head": {
            "type": "RetinaHead",
            "num_classes": 2,
            "in_channels": 8,
            "feat_channels": 8,
            "stacked_convs": 1,
        },
        "data_preprocessor": {**settings, **preprocessor},
    }
    with DefaultScope.overwrite_default_scope("mmdet"):
        return MODELS.build(config)
