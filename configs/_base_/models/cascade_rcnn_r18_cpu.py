# Cascade R-CNN small enough to train on two CPU cores, with MMDetection's ResNet-18.
_base_ = './cascade_rcnn_vit_micro.py'

model = dict(
    data_preprocessor=dict(pad_size_divisor=32),
    backbone=dict(_delete_=True, type='ResNet', depth=18, norm_eval=False),
    neck=dict(
        _delete_=True,
        type='FPN',
        in_channels=[64, 128, 256, 512],
        out_channels=64,
        start_level=1,
        num_outs=3))
