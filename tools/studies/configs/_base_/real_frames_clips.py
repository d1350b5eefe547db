# Single real frames of four indices, without labels and without the splits that detectors are
# evaluated on. docs/results/results.md has the commands that build the indices.
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
            # Folders of images: CamVid, IDD, and drives of nuScenes and KITTI.
            dict(index='work_dirs/frames/frames.arrow', **settings),
            # Two scenes of a surround rig.
            dict(index='work_dirs/frames/surround.arrow', **settings),
            # KITTI's rig.
            dict(index='work_dirs/frames/rig.arrow', **settings),
            # A keyframe of nuScenes' rig.
            dict(index='work_dirs/frames/sample.arrow', **settings)
        ]))
del settings  # else it would be a key of the config
