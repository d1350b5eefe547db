# Masked pretraining of a ViT: hidden cells are dropped, so only visible ones cost anything.
model = dict(
    type='MaskedPretrainer',
    data_preprocessor=dict(
        type='ClipPreprocessor',
        mean=[123.675, 116.28, 103.53],
        std=[58.395, 57.12, 57.375],
        bgr_to_rgb=True),
    encoder=dict(type='ViT', arch='base', patch_size=16),
    decoder=dict(type='ClipDecoder', embed_dims=384, depth=4, num_heads=6, attention_scope='clip'),
    target=dict(type='NormalizedPixels'),
    masking=dict(type='ObjectMask', ratio=0.75))
