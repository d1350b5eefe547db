# RTMDet with MMDetection's ResNet-50 in place of its CSPNeXt, which DriveMIM cannot pretrain.
# Configs that use it list 'drivemim.models.heads' in custom_imports.
# import_module, because MMEngine takes a config that imports other packages for a lazy config.
from importlib import import_module

# Read by drivemim/training/start_weights.py: an export or another checkpoint; None: random weights.
backbone_checkpoint = None

# MMDetection has no _base_ file of this model, so take the model of a full config.
shipped = 'mmdet::rtmdet/rtmdet_l_8xb32-300e_coco.py'
model = import_module('mmengine.config').Config.fromstring(f"_base_ = '{shipped}'", '.py').model
model.data_preprocessor.update(
    mean=[123.675, 116.28, 103.53], std=[58.395, 57.12, 57.375], bgr_to_rgb=True,
    pad_size_divisor=32)
model.backbone = dict(
    type='ResNet', depth=50, out_indices=(1, 2, 3), norm_eval=False,
    norm_cfg=dict(type='BN', requires_grad=True))
model.neck.update(in_channels=[512, 1024, 2048])
model.bbox_head.update(num_classes=2)
# Objects that the filters exclude are ignored, not treated as background.
model.train_cfg.assigner.update(type='drivemim.IgnoringSoftLabelAssigner')
