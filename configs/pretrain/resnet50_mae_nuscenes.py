# Baseline: plain masked autoencoding as in MAE: a decoder on tokens, eps=1e-6. ResNet-50.
_base_ = [
    '../_base_/models/pretrain_resnet.py', '../_base_/datasets/nuscenes_clips.py',
    '../_base_/schedules/pretrain.py', '../_base_/runtime.py'
]

model = dict(
    encoder=dict(backbone=dict(norm_cfg=dict(type='SyncBN'), with_cp=True)),
    decoder=dict(
        _delete_=True, type='ClipDecoder', embed_dims=384, depth=4, num_heads=6,
        attention_scope='frame'),
    target=dict(eps=1e-6))

train_dataloader = dict(
    batch_size=72, dataset=dict(num_frames=1, single_camera=True))
