# Everything that carries state from one iteration to the next.
_base_ = './toy.py'
train_dataloader = dict(num_workers=2, persistent_workers=True)
optim_wrapper = dict(accumulative_counts=2)
custom_hooks = [
    dict(type='Die'), dict(type='EMAHook', momentum=0.1, update_buffers=True)]
