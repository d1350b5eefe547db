# All unlabelled frames listed in data/README.md, except the splits that detectors are evaluated on:
# folders of frames and three rigs in nuScenes' format. docs/results/results.md has the commands that
# build the four indices.
settings = dict(
    type='ClipDataset',
    image_size=(224, 320),
    num_frames=1,
    single_camera=True,
    drop_incomplete=True,
    augment=dict(crop=(0.35, 1.0)))

train_dataloader = dict(
    batch_size=4,
    num_workers=0,
    persistent_workers=False,
    pin_memory=False,
    sampler=dict(type='SeededInfiniteSampler', shuffle=True),
    collate_fn=dict(type='drivemim.collate_clips'),
    dataset=dict(
        type='ConcatDataset',
        datasets=[
            dict(index='work_dirs/frames/frames.arrow', **settings),
            dict(index='work_dirs/frames/surround.arrow', **settings),
            dict(index='work_dirs/frames/rig.arrow', **settings),
            dict(index='work_dirs/frames/sample.arrow', **settings)
        ]))
