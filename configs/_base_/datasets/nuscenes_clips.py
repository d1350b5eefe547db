# Clips of nuScenes' six cameras: three time steps, 0.25 s apart (sweeps included).
index = 'data/nuscenes/drivemim-v1.0-trainval.arrow'

train_dataloader = dict(
    batch_size=4,
    num_workers=8,
    persistent_workers=True,
    pin_memory=True,
    sampler=dict(type='SeededInfiniteSampler', shuffle=True),
    collate_fn=dict(type='drivemim.collate_clips'),
    dataset=dict(
        type='ClipDataset',
        index=index,
        scenes='train',
        cameras=None,
        num_frames=3,
        frame_interval=0.25,
        image_size=(448, 800),
        augment=dict()))
