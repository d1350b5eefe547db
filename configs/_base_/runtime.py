# Settings of every run, pretraining or detection. drivemim/training/run.py adds the hooks that every
# run needs, whatever its config says.
default_scope = 'drivemim'

default_hooks = dict(
    runtime_info=dict(type='RuntimeInfoHook'),
    timer=dict(type='IterTimerHook'),
    logger=dict(type='LoggerHook', interval=10),
    param_scheduler=dict(type='ParamSchedulerHook'),
    checkpoint=dict(
        type='drivemim.AtomicCheckpoint', by_epoch=False, interval=500, max_keep_ckpts=2),
    sampler_seed=dict(type='DistSamplerSeedHook'))

env_cfg = dict(
    cudnn_benchmark=False,
    mp_cfg=dict(mp_start_method='fork', opencv_num_threads=0),
    dist_cfg=dict(backend='nccl'))

visualizer = dict(
    type='Visualizer',
    vis_backends=[dict(type='LocalVisBackend'), dict(type='TensorboardVisBackend')])
log_processor = dict(type='drivemim.CompactLogProcessor', window_size=10, by_epoch=False)
log_level = 'INFO'

randomness = dict(seed=0)
load_from = None
resume = False
