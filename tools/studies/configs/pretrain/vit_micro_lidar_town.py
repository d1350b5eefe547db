# The default recipe on the generated town, with an auxiliary target from lidar.
_base_ = [
    '../../../../configs/_base_/models/pretrain_vit_micro.py', '../_base_/town_clips.py',
    '../../../../configs/_base_/schedules/pretrain_9000.py', '../../../../configs/_base_/runtime.py'
]

model = dict(auxiliary=[dict(type='LidarTarget')])

train_dataloader = dict(
    num_workers=0, persistent_workers=False,
    dataset=dict(cameras=None, num_frames=1, single_camera=True, lidar_points=4096))
