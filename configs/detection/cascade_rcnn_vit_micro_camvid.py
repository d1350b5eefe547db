_base_ = [
    '../_base_/models/cascade_rcnn_vit_micro.py', '../_base_/datasets/coco_detection.py',
    '../_base_/schedules/detection_cpu.py', '../_base_/runtime.py'
]
default_scope = 'mmdet'
