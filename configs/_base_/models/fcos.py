# FCOS with MMDetection's ResNet-50 and FPN, for two classes that are often small. Configs that use
# it list 'drivemim.models.heads' in custom_imports.
# import_module, because MMEngine takes a config that imports other packages for a lazy config.
from importlib import import_module

# Read by drivemim/training/start_weights.py: an export or another checkpoint; None: random weights.
backbone_checkpoint = None

# MMDetection has no _base_ file of this model, so take the model of a full config.
shipped = 'mmdet::fcos/fcos_r50-caffe_fpn_gn-head-center-normbbox-centeronreg-giou_1x_coco.py'
model = import_module('mmengine.config').Config.fromstring(f"_base_ = '{shipped}'", '.py').model
model.data_preprocessor.update(
    mean=[123.675, 116.28, 103.53], std=[58.395, 57.12, 57.375], bgr_to_rgb=True)
# No downloaded weights; batch norm learns the statistics of our data.
model.backbone.update(
    init_cfg=None, frozen_stages=-1, norm_eval=False, style='pytorch',
    norm_cfg=dict(type='BN', requires_grad=True))
# Objects that the filters exclude are ignored, not treated as background.
model.bbox_head.update(type='drivemim.IgnoringFCOSHead', num_classes=2)
