_base_ = [
    '../_base_/models/fcos_r18_cpu.py', '../_base_/datasets/town_detection.py',
    '../_base_/schedules/detection_cpu.py', '../_base_/runtime.py'
]
default_scope = 'mmdet'
custom_imports = dict(imports=[*_base_.custom_imports.imports, 'drivemim.models.heads'])
