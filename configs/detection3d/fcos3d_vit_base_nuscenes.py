# FCOS3D with a ViT-B/16 on nuScenes, 8 GPUs: window attention for large images, and a simple
# feature pyramid.
_base_ = [
    '../_base_/models/fcos3d.py', '../_base_/datasets/nuscenes_detection3d.py',
    '../_base_/schedules/detection.py', '../_base_/runtime.py'
]
default_scope = 'mmdet'
# Mono3DHead and Mono3DCoder are in drivemim.models.heads.
custom_imports = dict(imports=[*_base_.custom_imports.imports, 'drivemim.models.heads'])

model = dict(
    backbone=dict(
        _delete_=True, type='drivemim.ViT', arch='base', patch_size=16, drop_path_rate=0.1,
        window_size=14, global_blocks=4),
    neck=dict(
        _delete_=True, type='drivemim.SimpleFeaturePyramid', in_channels=768, out_channels=256,
        scales=(2.0, 1.0, 0.5, 0.25)),
    bbox_head=dict(strides=[8, 16, 32, 64], level_limits=[48, 96, 192]))

# Layer-wise learning rate decay: early layers of the pretrained ViT get lower rates.
optim_wrapper = dict(paramwise_cfg=dict(decay_rate=0.8))
