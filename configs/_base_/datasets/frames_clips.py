# Single images of folders and videos, without calibration. Build the index first:
# tools/create_index.py frames --root data/drives
train_dataloader = dict(
    batch_size=32,
    num_workers=8,
    persistent_workers=True,
    pin_memory=True,
    sampler=dict(type='SeededInfiniteSampler', shuffle=True),
    collate_fn=dict(type='drivemim.collate_clips'),
    dataset=dict(
        type='ClipDataset',
        index='data/drives/drivemim-frames.arrow',
        num_frames=1,
        single_camera=True,
        image_size=(448, 800),
        augment=dict(crop=(0.35, 1.0))))
