# Keyframes of nuScenes with 3-D boxes of the ten detection classes, half size. Build the index
# first: tools/create_index.py nuscenes --root data/nuscenes --version v1.0-trainval --out INDEX
custom_imports = dict(
    imports=[
        'drivemim.data.detection.detection3d_dataset',
        'drivemim.data.detection.detection_transforms',
        'drivemim.data.detection.detection3d_transforms'])

index = 'data/nuscenes/drivemim-v1.0-trainval.arrow'
image_size = (448, 800)  # height, width
# Like the official evaluation, count objects with at least one lidar or radar point and within the
# class's range (a default of FrameDetection3D). Objects that the evaluation counts but that are
# hardly visible in the image are ignored in training only. In pixels of 1600x900 images.
filters = dict(
    min_visibility=2,  # nuScenes' level 2: 40 to 60 % visible
    min_width=4.0,
    min_height=4.0,
    min_points=1)

train_pipeline = [
    dict(type='drivemim.LoadReducedImage', image_size=image_size, skip_ignored_only=True),
    dict(type='drivemim.LoadBoxes3D'),
    # Before the flip, because it writes into the image, which must be contiguous.
    dict(type='YOLOXHSVRandomAug'),
    dict(type='drivemim.FlipFrame3D', prob=0.5),
    dict(type='drivemim.PackBoxes3D')
]
test_pipeline = [
    dict(type='drivemim.LoadReducedImage', image_size=image_size),
    dict(type='drivemim.LoadBoxes3D'),
    dict(type='drivemim.PackBoxes3D')
]
train_dataloader = dict(
    batch_size=4,
    num_workers=8,
    persistent_workers=True,
    sampler=dict(type='drivemim.SeededInfiniteSampler'),
    dataset=dict(
        type='drivemim.SeededDataset',  # gives every random frame a seed
        dataset=dict(
            type='drivemim.FrameDetection3D',
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
        type='drivemim.FrameDetection3D',
        index=index,
        scenes='val',
        filters=filters,
        pipeline=test_pipeline,
        test_mode=True))
test_dataloader = val_dataloader

# headings: reject results whose headings contradict the velocities, as those of a detector may do
# early in training. So validation does not check this; the test does.
val_evaluator = dict(type='drivemim.NuScenesDetection', headings=False)
test_evaluator = dict(type='drivemim.NuScenesDetection', plots=True)
