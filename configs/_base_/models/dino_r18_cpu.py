# DINO small enough to run on two CPU cores, with MMDetection's ResNet-18.
_base_ = './dino_vit_micro.py'

model = dict(
    data_preprocessor=dict(pad_size_divisor=1),
    backbone=dict(
        _delete_=True, type='ResNet', depth=18, out_indices=(1, 2, 3), norm_eval=False),
    neck=dict(
        _delete_=True,
        type='ChannelMapper',
        in_channels=[128, 256, 512],
        out_channels=64,
        norm_cfg=dict(type='GN', num_groups=32),
        num_outs=3))
