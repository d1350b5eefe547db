# FCOS3D with a ResNet-50 on nuScenes, 8 GPUs.
_base_ = [
    '../_base_/models/fcos3d.py', '../_base_/datasets/nuscenes_detection3d.py',
    '../_base_/schedules/detection.py', '../_base_/runtime.py'
]
default_scope = 'mmdet'
# Mono3DHead and Mono3DCoder are in drivemim.models.heads.
custom_imports = dict(imports=[*_base_.custom_imports.imports, 'drivemim.models.heads'])
