# Frozen backbone: no gradients, and fixed batch norm statistics.
_base_ = './faster_rcnn_r50_nuscenes.py'

model = dict(backbone=dict(frozen_stages=4, norm_eval=True))
