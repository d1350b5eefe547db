# Clips of the generated town, small enough for two CPU cores: two time steps, three front cameras.
train_dataloader = dict(
    batch_size=4,
    num_workers=1,
    persistent_workers=True,
    pin_memory=False,
    sampler=dict(type='SeededInfiniteSampler', shuffle=True),
    collate_fn=dict(type='drivemim.collate_clips'),
    dataset=dict(
        type='ClipDataset',
        index='work_dirs/demo/town.arrow',
        scenes='mini_train',
        cameras=('CAM_FRONT_LEFT', 'CAM_FRONT', 'CAM_FRONT_RIGHT'),
        num_frames=2,
        frame_interval=0.5,
        image_size=(192, 320),
        augment=dict()))
