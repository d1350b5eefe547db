# The recipe of vit_micro_town.py on nuScenes mini, for one CPU core. Build the index first:
# tools/create_index.py nuscenes --root data/nuscenes --version v1.0-mini
_base_ = [
    '../_base_/models/pretrain_vit_micro.py', '../_base_/datasets/nuscenes_clips.py',
    '../_base_/schedules/pretrain_9000.py', '../_base_/runtime.py'
]

train_dataloader = dict(
    batch_size=4, num_workers=0, persistent_workers=False, pin_memory=False,
    dataset=dict(
        index='data/nuscenes/drivemim-v1.0-mini.arrow', scenes='mini_train', num_frames=1, frame_interval=0.5,
        single_camera=True, image_size=(192, 320)))
