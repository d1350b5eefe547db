# Masked pretraining of MMDetection's ResNet-18, for two CPU cores.
_base_ = './pretrain_resnet.py'

model = dict(
    encoder=dict(backbone=dict(depth=18), patch_channels=192),
    decoder=dict(num_heads=6, neck=dict(in_channels=[128, 256, 512], out_channels=64)))
