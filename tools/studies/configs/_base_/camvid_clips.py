# Clips of two real frames, one camera per clip. One index has CamVid's train split and folders of
# unlabelled frames, the other a surround rig; tools/study_camvid.py builds both. Neither may contain
# frames of CamVid's val split, on which detectors are evaluated.
settings = dict(
    type='ClipDataset',
    image_size=(240, 320),
    num_frames=2,
    single_camera=True,
    drop_incomplete=True,
    augment=dict(crop=(0.35, 1.0)))

train_dataloader = dict(
    batch_size=16,
    num_workers=1,
    persistent_workers=True,
    pin_memory=False,
    sampler=dict(type='SeededInfiniteSampler', shuffle=True),
    collate_fn=dict(type='drivemim.collate_clips'),
    dataset=dict(
        type='ConcatDataset',
        datasets=[
            dict(index='work_dirs/study-camvid/frames.arrow', **settings),
            dict(index='work_dirs/study-camvid/surround.arrow', **settings)
        ]))
