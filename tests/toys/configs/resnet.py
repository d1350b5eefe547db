_base_ = './toy.py'
model = dict(
    _delete_=True,
    type='MaskedPretrainer',
    encoder=dict(
        type='MaskedResNet',
        backbone=dict(type='mmdet.ResNet', depth=18, base_channels=8, norm_eval=False),
        patch_channels=16),
    decoder=dict(type='ClipDecoder', embed_dims=16, depth=1, num_heads=2),
    target=dict(type='NormalizedPixels'),
    masking=dict(type='RandomMask', mask_ratio=0.5),
    data_preprocessor=dict(
        type='ClipPreprocessor', mean=[123.675, 116.28, 103.53], std=[58.395, 57.12, 57.375]))
train_dataloader = dict(dataset=dict(dataset=dict(image_size=(64, 96))))
train_cfg = dict(max_iters=2)
param_scheduler = [
    dict(type='CosineAnnealingLR', eta_min_ratio=0.01, by_epoch=False, begin=0, end=2)]
default_hooks = dict(checkpoint=dict(interval=2))
custom_hooks = [dict(type='EMAHook', momentum=0.3, update_buffers=True)]
