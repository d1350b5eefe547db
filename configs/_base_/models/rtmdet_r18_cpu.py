# RTMDet's neck and head small enough to train on two CPU cores, with MMDetection's ResNet-18.
_base_ = './rtmdet.py'

model = dict(
    backbone=dict(depth=18),
    neck=dict(
        in_channels=[128, 256, 512],
        out_channels=64,
        num_csp_blocks=1,
        norm_cfg=dict(type='BN')),
    bbox_head=dict(
        in_channels=64, feat_channels=64, stacked_convs=1, norm_cfg=dict(type='BN')),
    test_cfg=dict(nms_pre=500, score_thr=0.02))
