# DINO (the DETR) with a ResNet-50 on nuScenes, 8 GPUs.
_base_ = [
    '../_base_/models/dino.py', '../_base_/datasets/nuscenes_detection.py',
    '../_base_/schedules/detection.py', '../_base_/runtime.py'
]
default_scope = 'mmdet'
# IgnoringDINOHead is in drivemim.models.heads.
custom_imports = dict(imports=[*_base_.custom_imports.imports, 'drivemim.models.heads'])

# DINO's own learning rate, weight decay and gradient clipping: a DETR can diverge with larger steps.
# decay_rate: early layers of the backbone get lower rates.
optim_wrapper = dict(
    optimizer=dict(lr=1e-4, weight_decay=1e-4),
    paramwise_cfg=dict(decay_rate=0.8),
    clip_grad=dict(max_norm=0.1))
