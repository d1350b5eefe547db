# AdamW with linear warm-up and cosine decay per iteration, for 8 GPUs x 4 clips x 18 frames.
max_iters = 80_000
warmup_iters = 4_000

train_cfg = dict(type='IterBasedTrainLoop', max_iters=max_iters)

optim_wrapper = dict(
    type='OptimWrapper',
    optimizer=dict(type='AdamW', lr=3e-4, betas=(0.9, 0.95), weight_decay=0.05, fused=True),
    clip_grad=dict(max_norm=1.0),
    # LayerDecay also exempts norms and biases from weight decay. It is used for this alone: with a
    # decay_rate of 1.0, all layers have the same learning rate.
    constructor='LayerDecay',
    paramwise_cfg=dict(decay_rate=1.0))
# The learning rate is for 576 images an iteration; other batch sizes scale it.
auto_scale_lr = dict(enable=True, base_batch_size=576)

param_scheduler = [
    dict(type='LinearLR', start_factor=1e-3, by_epoch=False, begin=0, end=warmup_iters),
    dict(type='CosineAnnealingLR', eta_min_ratio=1e-3, by_epoch=False, begin=warmup_iters,
         end=max_iters)
]
