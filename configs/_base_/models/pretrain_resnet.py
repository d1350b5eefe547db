# Masked pretraining of MMDetection's ResNet. Its patches are 32x32 pixels and it cannot skip hidden
# ones, so the mask ratio is lower than for a ViT. Batch norm is trained, since the backbone starts
# from random weights. The decoder's neck is a detector's FPN, on the maps of stages 1 to 3 after
# hidden patches are filled in.
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
        # A patch's feature for the decoder's blocks: a sum over these stages.
        patch_channels=512,
        fuse_stages=(1, 2, 3)),
    decoder=dict(
        type='PyramidDecoder',
        depth=2,
        num_heads=8,
        attention_scope='frame',
        attention_init='mimetic',  # similar to trained attention: https://arxiv.org/abs/2305.09828
        # The decoder sets in_channels to those of the encoder's maps.
        neck=dict(type='mmdet.FPN', out_channels=256, num_outs=3)),
    # Patches with a standard deviation below about 13 grey levels (sky, road, noise) count less.
    target=dict(type='NormalizedPixels', eps=0.05),
    masking=dict(type='RandomMask', mask_ratio=0.6))
