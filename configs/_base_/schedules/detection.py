# Fine-tuning on 8 GPUs: 60,000 iterations of 32 images are 11 epochs of nuScenes' keyframes.
max_iters = 60000

train_cfg = dict(type='IterBasedTrainLoop', max_iters=max_iters, val_interval=10000)
val_cfg = dict(type='ValLoop')
test_cfg = dict(type='TestLoop')

optim_wrapper = dict(
    type='OptimWrapper',
    optimizer=dict(type='AdamW', lr=2e-4, weight_decay=0.05),
    # With a decay_rate of 1.0, all layers have the same learning rate; LayerDecay also exempts norms
    # and biases from weight decay.
    constructor='drivemim.LayerDecay',
    paramwise_cfg=dict(decay_rate=1.0),
    clip_grad=dict(max_norm=10.0))
# The learning rate is for 32 images an iteration; other batch sizes scale it.
auto_scale_lr = dict(enable=True, base_batch_size=32)
param_scheduler = [
    dict(type='LinearLR', start_factor=0.01, by_epoch=False, begin=0, end=1000),
    dict(
        type='CosineAnnealingLR', eta_min_ratio=0.01, by_epoch=False, begin=1000, end=max_iters)
]
