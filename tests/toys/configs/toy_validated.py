# Validations see averaged weights, which take the place of the trained ones meanwhile.
_base_ = './toy_hard.py'
val_dataloader = dict(
    batch_size=4,
    num_workers=1,
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(type='ToyClips', size=16),
    collate_fn=dict(type='drivemim.collate_clips'))
val_evaluator = dict(type='MeanValue')
val_cfg = dict(type='ValLoop')
train_cfg = dict(val_interval=4)
custom_hooks = [
    dict(type='SendSignal'), dict(type='EMAHook', momentum=0.1, update_buffers=True)]
