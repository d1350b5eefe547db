# FCOS small enough to train on two CPU cores, on a small ViT.
_base_ = ['./fcos.py', '../backbones/vit_micro.py']

model = dict(
    data_preprocessor=dict(pad_size_divisor=16),
    backbone=_base_.pop('backbone'),
    neck=_base_.pop('neck'),
    bbox_head=dict(
        in_channels=64,
        feat_channels=64,
        stacked_convs=1,
        strides=[8, 16, 32],
        # Half of FCOS's ranges, which suit images three times as wide, with larger objects.
        regress_ranges=((-1, 32), (32, 64), (64, 1e8))),
    test_cfg=dict(nms_pre=500, score_thr=0.02))
