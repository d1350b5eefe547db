# A ViT of 1.3 M parameters, for two CPU cores; in detectors it is that of backbones/vit_micro.py.
_base_ = './pretrain_vit.py'

model = dict(
    encoder=dict(arch='micro'),
    decoder=dict(num_heads=4, neck=dict(in_channels=128, out_channels=64)))
