# Early layers of a pretrained transformer move less.
_base_ = './retinanet_vit_micro_town.py'

optim_wrapper = dict(paramwise_cfg=dict(decay_rate=0.8))
