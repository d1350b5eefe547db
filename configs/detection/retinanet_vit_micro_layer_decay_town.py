# Layer-wise learning rate decay: early layers of the pretrained ViT get lower rates.
_base_ = './retinanet_vit_micro_town.py'

optim_wrapper = dict(paramwise_cfg=dict(decay_rate=0.8))
