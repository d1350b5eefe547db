_base_ = [
    '../_base_/models/mask_rcnn_vit_micro.py', '../_base_/datasets/nuimages_instances_mini.py',
    '../_base_/schedules/detection_cpu.py', '../_base_/runtime.py'
]
default_scope = 'mmdet'
