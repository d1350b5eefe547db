# Masked pretraining of MMDetection's ResNet-18: the recipe of configs/pretrain/resnet50_nuscenes.py.
model = dict(
    type='MaskedPretrainer',
    data_preprocessor=dict(
        type='ClipPreprocessor',
        mean=[123.675, 116.28, 103.53],
        std=[58.395, 57.12, 57.375],
        bgr_to_rgb=True),
    encoder=dict(
        type='MaskedResNet',
        backbone=dict(
            type='mmdet.ResNet',
            depth=18,
            norm_cfg=dict(type='BN', requires_grad=True),
            norm_eval=False,
            frozen_stages=-1,
            style='pytorch'),
        patch_channels=192,
        fuse_stages=(1, 2, 3)),
    decoder=dict(
        type='PyramidDecoder',
        depth=2,
        num_heads=6,
        attention_scope='frame',
        attention_init='mimetic',
        neck=dict(type='mmdet.FPN', out_channels=64, num_outs=3)),
    target=dict(type='NormalizedPixels', eps=0.05),
    masking=dict(type='RandomMask', mask_ratio=0.6))
