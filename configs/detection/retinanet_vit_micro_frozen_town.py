# Frozen backbone: no gradients.
_base_ = './retinanet_vit_micro_town.py'

model = dict(backbone=dict(frozen_stages=6))
