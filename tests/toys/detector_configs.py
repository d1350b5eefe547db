"""An export for detector configs, and the detector of such a config."""

import torch
from mmengine.config import Config
from mmengine.registry import DefaultScope

from drivemim.registry import MODELS
from drivemim.transfer.exporting import export_backbone

MEAN, STD = [123.675, 116.28, 103.53], [58.395, 57.12, 57.375]


def export(repository, folder, name, backbone):
    """An export of a pretrainer that was never trained, its statistics not those of a new one."""
    cfg = Config.fromfile(repository / "tests" / "toys" / "configs" / "resnet.py")
    cfg.model.encoder.backbone = {"type": "mmdet.ResNet", "norm_eval": False, **backbone}
    draw = torch.Generator().manual_seed(0)
    with DefaultScope.overwrite_default_scope("drivemim"):
        model = MODELS.build(cfg.model)
    for key, buffer in model.encoder.backbone.named_buffers():
        if key.endswith("running_mean"):
            buffer.copy_(0.1 * torch.randn(buffer.shape, generator=draw))
        if key.endswith("running_var"):
            buffer.copy_(1 + torch.rand(buffer.shape, generator=draw))
    meta = {"cfg": cfg.pretty_text, "iter": 2, "seed": 0}
    torch.save({"meta": meta, "state_dict": model.state_dict()}, folder / f"{name}.run.pth")
    export_backbone(folder / f"{name}.run.pth", folder / f"{name}.safetensors")
    return folder / f"{name}.safetensors"


def build(path):
    cfg = Config.fromfile(path)
    with DefaultScope.overwrite_default_scope("mmdet"):
        return cfg, MODELS.build(cfg.model)
