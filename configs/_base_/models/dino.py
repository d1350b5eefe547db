# DINO (the DETR) with MMDetection's ResNet-50 and four feature levels. Configs that use it list
# 'drivemim.models.heads' in custom_imports.
# import_module, because MMEngine takes a config that imports other packages for a lazy config.
from importlib import import_module

# Read by drivemim/training/start_weights.py: an export or another checkpoint; None: random weights.
backbone_checkpoint = None

# MMDetection has no _base_ file of this model, so take the model of a full config.
shipped = 'mmdet::dino/dino-4scale_r50_8xb2-12e_coco.py'
model = import_module('mmengine.config').Config.fromstring(f"_base_ = '{shipped}'", '.py').model
# No downloaded weights; batch norm learns the statistics of our data.
model.backbone.update(
    init_cfg=None, frozen_stages=-1, norm_eval=False,
    norm_cfg=dict(type='BN', requires_grad=True))
# Objects that the filters exclude are ignored, not treated as background.
model.bbox_head.update(type='drivemim.IgnoringDINOHead', num_classes=2)
