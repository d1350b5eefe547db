# RTMDet's head, small enough to train on two CPU cores, on a small ViT.
_base_ = ['./rtmdet.py', '../backbones/vit_micro.py']

model = dict(
    data_preprocessor=dict(pad_size_divisor=16),
    backbone=_base_.pop('backbone'),
    neck=_base_.pop('neck'),
    bbox_head=dict(
        in_channels=64, feat_channels=64, stacked_convs=1, norm_cfg=dict(type='BN')),
    test_cfg=dict(nms_pre=500, score_thr=0.02))
