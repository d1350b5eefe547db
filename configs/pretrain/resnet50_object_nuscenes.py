# ResNet-50 with object masks on clips of nuScenes, 8 GPUs:
# tools/train.py THIS --launcher pytorch --amp
_base_ = [
    '../_base_/models/pretrain_resnet.py', '../_base_/datasets/nuscenes_clips.py',
    '../_base_/schedules/pretrain.py', '../_base_/runtime.py'
]

model = dict(
    encoder=dict(backbone=dict(norm_cfg=dict(type='SyncBN'), with_cp=True)),
    decoder=dict(attention_scope='clip'),
    masking=dict(type='ObjectMask'))

auto_scale_lr = dict(base_batch_size=32)  # clips of 18 images
