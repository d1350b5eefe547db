# RetinaNet small enough to train on two CPU cores, with MMDetection's ResNet-18.
_base_ = './retinanet.py'

model = dict(
    backbone=dict(depth=18),
    neck=dict(in_channels=[64, 128, 256, 512], out_channels=64, num_outs=4),
    bbox_head=dict(
        in_channels=64,
        feat_channels=64,
        stacked_convs=1,
        anchor_generator=dict(strides=[8, 16, 32, 64])),
    test_cfg=dict(nms_pre=500, score_thr=0.02))
