# The generated town with 2-D boxes of objects of all sizes, for two CPU cores.
custom_imports = dict(
    imports=[
        'drivemim.data.detection.detection_dataset',
        'drivemim.data.detection.detection_transforms'])

index = 'work_dirs/demo/town.arrow'
image_size = (192, 320)  # height, width
# In pixels of the stored 800x450 images.
filters = dict(
    min_visibility=2,
    min_width=5.0,
    min_height=10.0,
    min_area=0.0,
    max_truncation=0.95,
    max_distance=60.0,
    min_lidar_points=1)

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
    batch_size=8,
    num_workers=0,
    persistent_workers=False,
    sampler=dict(type='drivemim.SeededInfiniteSampler'),
    dataset=dict(
        type='drivemim.SeededDataset',
        dataset=dict(
            type='drivemim.FrameDetection',
            index=index,
            scenes='mini_train',
            filters=filters,
            pipeline=train_pipeline)))
val_dataloader = dict(
    batch_size=8,
    num_workers=0,
    persistent_workers=False,
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(
        type='drivemim.FrameDetection',
        index=index,
        scenes='mini_val',
        filters=filters,
        pipeline=test_pipeline,
        test_mode=True))
test_dataloader = val_dataloader

val_evaluator = dict(type='drivemim.DetectionAP')
test_evaluator = val_evaluator
