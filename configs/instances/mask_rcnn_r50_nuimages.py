_base_ = [
    '../_base_/models/mask_rcnn.py', '../_base_/datasets/nuimages_instances.py',
    '../_base_/schedules/detection.py', '../_base_/runtime.py'
]
default_scope = 'mmdet'
