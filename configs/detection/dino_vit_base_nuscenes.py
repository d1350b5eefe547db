# DINO (the DETR) with a ViT-B/16 on nuScenes, 8 GPUs: window attention for large images, and a
# simple feature pyramid.
_base_ = [
    '../_base_/models/dino.py', '../_base_/datasets/nuscenes_detection.py',
    '../_base_/schedules/detection.py', '../_base_/runtime.py'
]
default_scope = 'mmdet'
# IgnoringDINOHead is in drivemim.models.heads.
custom_imports = dict(imports=[*_base_.custom_imports.imports, 'drivemim.models.heads'])

model = dict(
    data_preprocessor=dict(pad_size_divisor=16),
    backbone=dict(
        _delete_=True, type='drivemim.ViT', arch='base', patch_size=16, drop_path_rate=0.1,
        window_size=14, global_blocks=4),
    neck=dict(
        _delete_=True, type='drivemim.SimpleFeaturePyramid', in_channels=768, out_channels=256,
        scales=(2.0, 1.0, 0.5, 0.25)))

# DINO's own learning rate, weight decay and gradient clipping: a DETR can diverge with larger steps.
# decay_rate: early layers of the backbone get lower rates.
optim_wrapper = dict(
    optimizer=dict(lr=1e-4, weight_decay=1e-4),
    paramwise_cfg=dict(decay_rate=0.8),
    clip_grad=dict(max_norm=0.1))
