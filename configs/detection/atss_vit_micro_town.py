# A small ATSS on the generated town, for two CPU cores; the demo trains it. Only objects that a
# detector can learn within hundreds of iterations are targets.
_base_ = [
    '../_base_/models/atss.py', '../_base_/datasets/nuscenes_detection.py',
    '../_base_/schedules/detection.py', '../_base_/runtime.py'
]
default_scope = 'mmdet'

index = 'work_dirs/demo/town.arrow'
image_size = (192, 320)  # height, width
# In pixels of the stored 800x450 images; the others are as on nuScenes.
filters = dict(min_width=12.0, min_height=30.0, max_distance=40.0)

# No colour augmentation: it needs more iterations than a short schedule has.
train_pipeline = [
    dict(type='drivemim.LoadReducedImage', image_size=image_size, skip_ignored_only=True),
    dict(type='RandomFlip', prob=0.5),
    dict(type='PackDetInputs', meta_keys=(
        'img_id', 'img_path', 'ori_shape', 'img_shape', 'scale_factor', 'flip',
        'flip_direction', 'frame_token'))
]
test_pipeline = [
    dict(type='drivemim.LoadReducedImage', image_size=image_size),
    # The metric reads the keys after scale_factor.
    dict(type='PackDetInputs', meta_keys=(
        'img_id', 'img_path', 'ori_shape', 'img_shape', 'scale_factor', 'frame_token',
        'camera', 'scene', 'condition', 'instances'))
]
train_dataloader = dict(
    batch_size=4, num_workers=0, persistent_workers=False,
    dataset=dict(dataset=dict(
        index=index, scenes='mini_train', filters=filters, pipeline=train_pipeline)))
val_dataloader = dict(
    batch_size=8, num_workers=0, persistent_workers=False,
    dataset=dict(index=index, scenes='mini_val', filters=filters, pipeline=test_pipeline))
test_dataloader = val_dataloader

train_cfg = dict(max_iters=600, val_interval=600)
optim_wrapper = dict(optimizer=dict(lr=1e-3))
auto_scale_lr = dict(base_batch_size=4)
param_scheduler = [
    dict(type='LinearLR', start_factor=0.01, by_epoch=False, begin=0, end=50),
    dict(type='CosineAnnealingLR', eta_min_ratio=0.01, by_epoch=False, begin=50, end=600)
]
