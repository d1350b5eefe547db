_base_ = [
    '../_base_/models/faster_rcnn.py', '../_base_/datasets/nuscenes_detection.py',
    '../_base_/schedules/detection.py', '../_base_/runtime.py'
]
default_scope = 'mmdet'

model = dict(backbone=dict(depth=18), neck=dict(in_channels=[64, 128, 256, 512]))
