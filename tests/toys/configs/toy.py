_base_ = '../../../configs/_base_/runtime.py'
custom_imports = dict(imports=['engine_toys'])
model = dict(
    type='ToyPretrainer',
    encoder=dict(type='ToyEncoder'),
    data_preprocessor=dict(
        type='ToyPreprocessor', mean=[123.0, 117.0, 104.0], std=[58.0, 57.0, 57.5]))
train_dataloader = dict(
    batch_size=4,
    num_workers=0,
    sampler=dict(type='SeededInfiniteSampler'),
    dataset=dict(type='SeededDataset', dataset=dict(type='ToyClips')),
    collate_fn=dict(type='drivemim.collate_clips'))
train_cfg = dict(type='IterBasedTrainLoop', max_iters=12)
optim_wrapper = dict(
    type='OptimWrapper', optimizer=dict(type='AdamW', lr=0.01), clip_grad=dict(max_norm=1.0))
param_scheduler = [
    dict(type='LinearLR', start_factor=0.1, by_epoch=False, begin=0, end=4),
    dict(type='CosineAnnealingLR', eta_min_ratio=0.01, by_epoch=False, begin=4, end=12)]
default_hooks = dict(logger=dict(interval=1), checkpoint=dict(interval=4))
log_processor = dict(window_size=1)
custom_hooks = [dict(type='Die')]
