# DINO with MMDetection's ResNet-50 and four levels of features. Configs that use it name
# 'drivemim.models.heads' in custom_imports.
from importlib import import_module

backbone_checkpoint = None  # an export of tools/export_backbone.py, or None to start at random

# MMDetection has no base of this model alone: the model of a whole config is taken.
shipped = 'mmdet::dino/dino-4scale_r50_8xb2-12e_coco.py'
model = import_module('mmengine.config').Config.fromstring(f"_base_ = '{shipped}'", '.py').model
# No weights from the network, and statistics of our own data.
model.backbone.update(
    init_cfg=None, frozen_stages=-1, norm_eval=False,
    norm_cfg=dict(type='BN', requires_grad=True))
# Objects that the filters leave out are ignored, not background.
model.bbox_head.update(type='drivemim.IgnoringDINOHead', num_classes=2)
