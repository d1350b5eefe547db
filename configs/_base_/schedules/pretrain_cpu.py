# Pretraining for a few minutes on two CPU cores.
_base_ = './pretrain.py'

max_iters = 600
warmup_iters = 40

train_cfg = dict(max_iters=max_iters)
optim_wrapper = dict(optimizer=dict(lr=1e-3))
param_scheduler = [
    dict(type='LinearLR', start_factor=1e-2, by_epoch=False, begin=0, end=warmup_iters),
    dict(type='CosineAnnealingLR', eta_min_ratio=1e-2, by_epoch=False, begin=warmup_iters,
         end=max_iters)
]
