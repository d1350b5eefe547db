# Baseline: plain masked autoencoding as in MAE: a decoder on tokens, eps=1e-6, Xavier
# initialisation. ViT-B/16.
_base_ = [
    '../_base_/models/pretrain_vit.py', '../_base_/datasets/nuscenes_clips.py',
    '../_base_/schedules/pretrain.py', '../_base_/runtime.py'
]

model = dict(
    encoder=dict(drop_path_rate=0.1, with_cp=True, attention_init='xavier'),
    decoder=dict(
        _delete_=True, type='ClipDecoder', embed_dims=384, depth=4, num_heads=6,
        attention_scope='frame'),
    target=dict(eps=1e-6))

train_dataloader = dict(
    batch_size=72, dataset=dict(num_frames=1, single_camera=True))
