# Masked pretraining of a ViT with 1.3 M parameters, for one CPU core; otherwise as pretrain_vit.py.
model = dict(
    type='MaskedPretrainer',
    data_preprocessor=dict(
        type='ClipPreprocessor',
        mean=[123.675, 116.28, 103.53],
        std=[58.395, 57.12, 57.375],
        bgr_to_rgb=True),
    encoder=dict(type='ViT', arch='micro', patch_size=16, attention_init='mimetic'),
    decoder=dict(
        type='PyramidDecoder',
        depth=2,
        num_heads=4,
        attention_scope='frame',
        attention_init='mimetic',
        neck=dict(
            type='SimpleFeaturePyramid',
            out_channels=64,
            scales=(2.0, 1.0, 0.5))),
    # Flat patches (sky, road, noise) count less; see pretrain_vit.py.
    target=dict(type='NormalizedPixels', eps=0.05),
    masking=dict(type='RandomMask', mask_ratio=0.75))
