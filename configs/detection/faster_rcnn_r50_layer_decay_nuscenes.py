# Layer-wise learning rate decay: early stages of the pretrained ResNet get lower rates.
_base_ = './faster_rcnn_r50_nuscenes.py'

optim_wrapper = dict(paramwise_cfg=dict(decay_rate=0.6))
