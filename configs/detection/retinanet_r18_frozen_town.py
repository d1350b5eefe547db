# Frozen backbone: no gradients, and fixed batch norm statistics.
_base_ = './retinanet_r18_town.py'

model = dict(backbone=dict(frozen_stages=4, norm_eval=True))
