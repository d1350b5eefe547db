_base_ = [
    '../_base_/models/dino_vit_micro.py', '../_base_/datasets/town_detection.py',
    '../_base_/schedules/detection_cpu.py', '../_base_/runtime.py'
]
default_scope = 'mmdet'
custom_imports = dict(imports=[*_base_.custom_imports.imports, 'drivemim.models.heads'])

optim_wrapper = dict(optimizer=dict(lr=4e-4, weight_decay=1e-4), clip_grad=dict(max_norm=0.1))
