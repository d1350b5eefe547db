# All unlabelled frames listed in data/README.md, except the splits that detectors are evaluated on:
# folders of frames and three rigs in nuScenes' format. docs/results/results.md has the commands that build
# the four indices.
_base_ = './nuscenes_clips.py'

folder = 'work_dirs/frames'
common = dict(
    type='ClipDataset',
    image_size=(224, 320),
    num_frames=1,
    single_camera=True,
    drop_incomplete=True,
    augment=dict(crop=(0.35, 1.0)))

train_dataloader = dict(
    batch_size=4, num_workers=0, persistent_workers=False, pin_memory=False,
    dataset=dict(
        _delete_=True,
        type='ConcatDataset',
        datasets=[
            dict(index=f'{folder}/{name}.arrow', **common)
            for name in ('frames', 'surround', 'rig', 'sample')
        ]))
