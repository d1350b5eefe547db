# 9,000 iterations of 4 frames, for one CPU core; docs/results/results.md has the time.
train_cfg = dict(type='IterBasedTrainLoop', max_iters=9000)

optim_wrapper = dict(
    type='OptimWrapper',
    optimizer=dict(type='AdamW', lr=1e-3, betas=(0.9, 0.95), weight_decay=0.05, fused=True),
    clip_grad=dict(max_norm=1.0),
    # LayerDecay also exempts norms and biases from weight decay. It is used for this alone: with a
    # decay_rate of 1.0, all layers have the same learning rate.
    constructor='LayerDecay',
    paramwise_cfg=dict(decay_rate=1.0))
# The learning rate is for 4 images an iteration; other batch sizes scale it.
auto_scale_lr = dict(enable=True, base_batch_size=4)

param_scheduler = [
    dict(type='LinearLR', start_factor=1e-2, by_epoch=False, begin=0, end=500),
    dict(type='CosineAnnealingLR', eta_min_ratio=1e-2, by_epoch=False, begin=500, end=9000)
]
