# Mask R-CNN with a ResNet-50 on nuImages, 8 GPUs.
_base_ = [
    '../_base_/models/mask_rcnn.py', '../_base_/datasets/nuimages_instances.py',
    '../_base_/schedules/detection.py', '../_base_/runtime.py'
]
default_scope = 'mmdet'
