# RetinaNet small enough to train on two CPU cores: a ViT with 1.3 M parameters, four levels, one
# convolution per head branch.
_base_ = ['./retinanet.py', '../backbones/vit_micro.py']

model = dict(
    data_preprocessor=dict(pad_size_divisor=16),
    backbone=_base_.pop('backbone'),
    neck=dict(_base_.pop('neck'), scales=(2.0, 1.0, 0.5, 0.25)),
    bbox_head=dict(
        in_channels=64,
        feat_channels=64,
        stacked_convs=1,
        anchor_generator=dict(strides=[8, 16, 32, 64])),
    test_cfg=dict(nms_pre=500, score_thr=0.02))
