# The backbone as it was pretrained: no gradients, and statistics that stay.
_base_ = './retinanet_r18_town.py'

model = dict(backbone=dict(frozen_stages=4, norm_eval=True))
