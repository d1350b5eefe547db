# Baseline: plain masked autoencoding as in MAE: a decoder on tokens, eps=1e-6. ResNet-18.
_base_ = [
    '../_base_/pretrain_resnet18.py', '../_base_/real_frames_clips.py',
    '../../../../configs/_base_/schedules/pretrain_9000.py', '../../../../configs/_base_/runtime.py'
]

model = dict(
    decoder=dict(
        _delete_=True, type='ClipDecoder', embed_dims=96, depth=2, num_heads=3,
        attention_scope='frame'),
    target=dict(eps=1e-6))
