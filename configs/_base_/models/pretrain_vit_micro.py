# Masked pretraining of a ViT with 1.3 M parameters on two CPU cores. backbones/vit_micro.py is the
# same ViT for detectors.
_base_ = './pretrain_vit.py'

model = dict(
    encoder=dict(arch='micro'),
    decoder=dict(num_heads=4, neck=dict(in_channels=128, out_channels=64)))
