# Masked pretraining of a ViT: hidden patches are dropped, so the encoder only processes visible
# ones. The decoder's neck is a detector's, on the feature map after hidden patches are filled in.
model = dict(
    type='MaskedPretrainer',
    data_preprocessor=dict(
        type='ClipPreprocessor',
        mean=[123.675, 116.28, 103.53],
        std=[58.395, 57.12, 57.375],
        bgr_to_rgb=True),
    # Attention starts similar to trained attention: https://arxiv.org/abs/2305.09828
    encoder=dict(type='ViT', arch='base', patch_size=16, attention_init='mimetic'),
    decoder=dict(
        type='PyramidDecoder',
        depth=2,
        num_heads=12,
        attention_scope='frame',
        attention_init='mimetic',
        neck=dict(
            type='SimpleFeaturePyramid',
            out_channels=256,
            scales=(2.0, 1.0, 0.5))),
    # Patches with a standard deviation below about 13 grey levels (sky, road, noise) count less.
    target=dict(type='NormalizedPixels', eps=0.05),
    masking=dict(type='RandomMask', mask_ratio=0.75))
