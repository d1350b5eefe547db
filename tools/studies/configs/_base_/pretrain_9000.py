# Pretraining on single frames, on one CPU core.
train_cfg = dict(type='IterBasedTrainLoop', max_iters=9000)

optim_wrapper = dict(
    type='OptimWrapper',
    optimizer=dict(type='AdamW', lr=1e-3, betas=(0.9, 0.95), weight_decay=0.05, fused=True),
    clip_grad=dict(max_norm=1.0),
    constructor='LayerDecay',  # no weight decay of norms and biases
    paramwise_cfg=dict(decay_rate=1.0))

param_scheduler = [
    dict(type='LinearLR', start_factor=1e-2, by_epoch=False, begin=0, end=500),
    dict(type='CosineAnnealingLR', eta_min_ratio=1e-2, by_epoch=False, begin=500, end=9000)
]
