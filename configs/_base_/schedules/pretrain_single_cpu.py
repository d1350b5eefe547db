# Pretraining on single frames: 9,000 iterations of 4 frames take 15 to 20 minutes on one CPU core
# with AVX-512.
_base_ = './pretrain_cpu.py'

max_iters = 9000
warmup_iters = 500

train_cfg = dict(max_iters=max_iters)
param_scheduler = [
    dict(type='LinearLR', start_factor=1e-2, by_epoch=False, begin=0, end=warmup_iters),
    dict(type='CosineAnnealingLR', eta_min_ratio=1e-2, by_epoch=False, begin=warmup_iters,
         end=max_iters)
]
