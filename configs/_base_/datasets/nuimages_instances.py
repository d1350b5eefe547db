# nuImages with instance masks (nuScenes has none), half size, read by MMDetection's CocoDataset.
# mmdetection3d's nuimage_converter.py writes the COCO files. Any other COCO file with masks works
# too, with its own classes.
custom_imports = dict(imports=['drivemim.data.detection.detection_transforms'])

data_root = 'data/nuimages/'
image_size = (448, 800)  # height, width
classes = (
    'car', 'truck', 'trailer', 'bus', 'construction_vehicle', 'bicycle', 'motorcycle',
    'pedestrian', 'traffic_cone', 'barrier')
metainfo = dict(classes=classes)

train_pipeline = [
    dict(type='drivemim.LoadReducedInstances', image_size=image_size),
    dict(type='RandomFlip', prob=0.5),
    dict(type='PackDetInputs')
]
test_pipeline = [
    dict(type='drivemim.LoadReducedInstances', image_size=image_size, with_annotations=False),
    dict(type='PackDetInputs', meta_keys=(
        'img_id', 'img_path', 'ori_shape', 'img_shape', 'scale_factor'))
]
train_dataloader = dict(
    batch_size=4,
    num_workers=8,
    persistent_workers=True,
    sampler=dict(type='drivemim.SeededInfiniteSampler'),
    dataset=dict(
        type='drivemim.SeededDataset',  # gives every random frame a seed
        dataset=dict(
            type='CocoDataset',
            data_root=data_root,
            ann_file='annotations/nuimages_v1.0-train.json',
            data_prefix=dict(img=''),
            metainfo=metainfo,
            filter_cfg=dict(filter_empty_gt=True),
            pipeline=train_pipeline)))
val_dataloader = dict(
    batch_size=4,
    num_workers=8,
    persistent_workers=True,
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(
        type='CocoDataset',
        data_root=data_root,
        ann_file='annotations/nuimages_v1.0-val.json',
        data_prefix=dict(img=''),
        metainfo=metainfo,
        pipeline=test_pipeline,
        test_mode=True))
test_dataloader = val_dataloader

val_evaluator = dict(
    type='CocoMetric',
    ann_file=data_root + 'annotations/nuimages_v1.0-val.json',
    metric=['bbox', 'segm'])
test_evaluator = val_evaluator
