# The generated town with 3-D boxes, small enough for two CPU cores.
custom_imports = dict(
    imports=[
        'drivemim.data.detection.detection3d_dataset',
        'drivemim.data.detection.detection_transforms',
        'drivemim.data.detection.detection3d_transforms'])

index = 'work_dirs/demo/town.arrow'
image_size = (192, 320)  # height, width
# In pixels of the stored 800x450 images.
filters = dict(min_visibility=0, min_width=4.0, min_height=6.0, min_points=1)

# No colour augmentation: it needs more iterations than a short schedule has.
train_pipeline = [
    dict(type='drivemim.LoadReducedImage', image_size=image_size, skip_ignored_only=True),
    dict(type='drivemim.LoadBoxes3D'),
    dict(type='drivemim.FlipFrame3D', prob=0.5),
    dict(type='drivemim.PackBoxes3D')
]
test_pipeline = [
    dict(type='drivemim.LoadReducedImage', image_size=image_size),
    dict(type='drivemim.LoadBoxes3D'),
    dict(type='drivemim.PackBoxes3D')
]
train_dataloader = dict(
    batch_size=8,
    num_workers=0,
    persistent_workers=False,
    sampler=dict(type='drivemim.SeededInfiniteSampler'),
    dataset=dict(
        type='drivemim.SeededDataset',
        dataset=dict(
            type='drivemim.FrameDetection3D',
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
        type='drivemim.FrameDetection3D',
        index=index,
        scenes='mini_val',
        filters=filters,
        pipeline=test_pipeline,
        test_mode=True))
test_dataloader = val_dataloader

# headings: reject results whose headings contradict the velocities, as those of a detector may do
# early in training. So validation does not check this; the test does.
val_evaluator = dict(type='drivemim.NuScenesDetection', headings=False)
test_evaluator = dict(type='drivemim.NuScenesDetection', plots=True)
