# IDD-lite, Indian streets with boxes of people and vehicles. Build the index first:
# tools/create_index.py frames --root data/idd --coco data/idd/train.json --coco data/idd/val.json
custom_imports = dict(
    imports=[
        'drivemim.data.detection.detection_dataset',
        'drivemim.data.detection.detection_transforms'])

index = 'data/idd/drivemim-frames.arrow'
image_size = (224, 320)  # height, width
# In pixels of 320x227 images. Boxes that were annotated in images, not in 3-D, pass all other
# filters.
filters = dict(min_width=5.0, min_height=13.0)

train_pipeline = [
    dict(type='drivemim.LoadReducedImage', image_size=image_size, skip_ignored_only=True),
    dict(type='RandomFlip', prob=0.5),
    # Without random scale and translation, a detector that sees the same few frames again and again
    # memorises where their objects are.
    dict(type='RandomAffine', max_rotate_degree=0.0, max_shear_degree=0.0,
         max_translate_ratio=0.2, scaling_ratio_range=(0.8, 1.8)),
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
    num_workers=0,
    persistent_workers=False,
    sampler=dict(type='drivemim.SeededInfiniteSampler'),
    dataset=dict(
        type='drivemim.SeededDataset',
        dataset=dict(
            type='drivemim.FrameDetection',
            index=index,
            scenes='train',
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
        scenes='val',
        filters=filters,
        pipeline=test_pipeline,
        test_mode=True))
test_dataloader = val_dataloader

val_evaluator = dict(type='drivemim.DetectionAP')
test_evaluator = val_evaluator
