_base_ = 'mmdet::_base_/models/retinanet_r50_fpn.py'
default_scope = 'mmdet'
custom_imports = dict(imports=['engine_toys'])
backbone_checkpoint = None
model = dict(
    backbone=dict(
        depth=18, base_channels=8, frozen_stages=-1,
        init_cfg=dict(checkpoint='torchvision://resnet18')),
    neck=dict(in_channels=[8, 16, 32, 64], out_channels=8),
    bbox_head=dict(num_classes=2, in_channels=8, feat_channels=8, stacked_convs=1))
train_dataloader = dict(
    batch_size=2, num_workers=0, sampler=dict(type='InfiniteSampler'),
    dataset=dict(type='drivemim.ToyDetection'))
test_dataloader = dict(
    batch_size=2, num_workers=0, sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(type='drivemim.ToyDetection'))
test_evaluator = dict(type='drivemim.CountImages')
test_cfg = dict(type='TestLoop')
train_cfg = dict(type='IterBasedTrainLoop', max_iters=2)
optim_wrapper = dict(type='OptimWrapper', optimizer=dict(type='SGD', lr=0.0))
default_hooks = dict(
    logger=dict(type='LoggerHook', interval=1),
    checkpoint=dict(type='CheckpointHook', by_epoch=False, interval=2))
log_processor = dict(by_epoch=False)
