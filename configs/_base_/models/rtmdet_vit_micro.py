# RTMDet's head small enough to train on two CPU cores, on a small ViT.
_base_ = './rtmdet.py'

model = dict(
    data_preprocessor=dict(pad_size_divisor=16),
    backbone=dict(
        _delete_=True, type='drivemim.ViT', patch_size=16, embed_dims=192, depth=8, num_heads=3),
    neck=dict(
        _delete_=True,
        type='drivemim.SimpleFeaturePyramid',
        in_channels=192,
        out_channels=64,
        scales=(2.0, 1.0, 0.5)),
    bbox_head=dict(
        in_channels=64, feat_channels=64, stacked_convs=1, norm_cfg=dict(type='BN')),
    test_cfg=dict(nms_pre=500, score_thr=0.02))
