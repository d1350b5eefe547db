# ResNet-50 on nuScenes with the recipe of vit_base_nuscenes.py, 8 GPUs.
_base_ = [
    '../_base_/models/pretrain_resnet.py', '../_base_/datasets/nuscenes_clips.py',
    '../_base_/schedules/pretrain.py', '../_base_/runtime.py'
]

model = dict(encoder=dict(backbone=dict(norm_cfg=dict(type='SyncBN'), with_cp=True)))

train_dataloader = dict(
    batch_size=72, dataset=dict(num_frames=1, single_camera=True))
