_base_ = [
    '../_base_/models/faster_rcnn_vit_base.py', '../_base_/datasets/nuscenes_detection.py',
    '../_base_/schedules/detection.py', '../_base_/runtime.py'
]
default_scope = 'mmdet'

# Layer-wise learning rate decay: early layers of the pretrained ViT get lower rates.
optim_wrapper = dict(paramwise_cfg=dict(decay_rate=0.8))
