_base_ = [
    '../_base_/models/fcos3d_r18_cpu.py', '../_base_/datasets/town_detection3d.py',
    '../_base_/schedules/detection_cpu.py', '../_base_/runtime.py'
]
default_scope = 'mmdet'
custom_imports = dict(imports=[*_base_.custom_imports.imports, 'drivemim.models.heads'])
