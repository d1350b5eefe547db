# Pretraining for a few minutes on two CPU cores.
train_cfg = dict(type='IterBasedTrainLoop', max_iters=600)

optim_wrapper = dict(
    type='OptimWrapper',
    optimizer=dict(type='AdamW', lr=1e-3, betas=(0.9, 0.95), weight_decay=0.05, fused=True),
    clip_grad=dict(max_norm=1.0),
    # LayerDecay also exempts norms and biases from weight decay. It is used for this alone: with a
    # decay_rate of 1.0, all layers have the same learning rate.
    constructor='LayerDecay',
    paramwise_cfg=dict(decay_rate=1.0))

param_scheduler = [
    dict(type='LinearLR', start_factor=1e-2, by_epoch=False, begin=0, end=40),
    dict(type='CosineAnnealingLR', eta_min_ratio=1e-2, by_epoch=False, begin=40, end=600)
]
