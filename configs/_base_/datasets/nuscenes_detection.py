# Keyframes of nuScenes with boxes of pedestrians and vehicles, half size. Build the index first:
# tools/create_index.py nuscenes --root data/nuscenes --version v1.0-trainval --out INDEX
custom_imports = dict(
    imports=[
        'drivemim.data.detection.detection_dataset',
        'drivemim.data.detection.detection_transforms'])

index = 'data/nuscenes/drivemim-v1.0-trainval.arrow'
image_size = (448, 800)  # height, width
# Objects outside these limits are ignored in training and evaluation. In pixels of 1600x900 images.
filters = dict(
    min_visibility=2,  # nuScenes' level 2: 40 to 60 % visible
    min_width=6.0,
    min_height=12.0,
    min_area=0.0,
    max_truncation=0.95,
    max_distance=100.0,
    min_lidar_points=1)

train_pipeline = [
    dict(type='drivemim.LoadReducedImage', image_size=image_size, skip_ignored_only=True),
    # Before the flip, because it writes into the image, which must be contiguous.
    dict(type='YOLOXHSVRandomAug'),
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
    batch_size=4,
    num_workers=8,
    persistent_workers=True,
    sampler=dict(type='drivemim.SeededInfiniteSampler'),
    dataset=dict(
        type='drivemim.SeededDataset',  # gives every random frame a seed
        dataset=dict(
            type='drivemim.FrameDetection',
            index=index,
            scenes='train',
            filters=filters,
            pipeline=train_pipeline)))
val_dataloader = dict(
    batch_size=4,
    num_workers=8,
    persistent_workers=True,
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(
        type='drivemim.FrameDetection',
        index=index,
        scenes='val',
        filters=filters,
        pipeline=test_pipeline,
        test_mode=True))
test_dataloader = val_dataloader

val_evaluator = dict(type='drivemim.DetectionAP')
test_evaluator = val_evaluator
