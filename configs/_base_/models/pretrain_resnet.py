# Masked pretraining of MMDetection's ResNet. Its cells are 32x32 pixels and it cannot skip hidden
# ones, so less is hidden than with a ViT. Batch normalisation learns its statistics.
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
            depth=50,
            norm_cfg=dict(type='BN', requires_grad=True),
            norm_eval=False,
            frozen_stages=-1,
            style='pytorch'),
        cell_channels=512),
    decoder=dict(type='ClipDecoder', embed_dims=384, depth=4, num_heads=6, attention_scope='clip'),
    target=dict(type='NormalizedPixels'),
    masking=dict(type='ObjectMask', ratio=0.6))
