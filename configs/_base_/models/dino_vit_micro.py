# DINO small enough to run on two CPU cores, on a small ViT: 64 channels, two layers. Like any DETR
# it learns slowly: 600 iterations show that it runs, not how good it is.
_base_ = ['./dino.py', '../backbones/vit_micro.py']

feed_forward = dict(embed_dims=64, feedforward_channels=256)
deformable = dict(embed_dims=64, num_levels=3)
model = dict(
    num_queries=100,
    data_preprocessor=dict(pad_size_divisor=16),
    backbone=_base_.pop('backbone'),
    neck=_base_.pop('neck'),
    encoder=dict(
        num_layers=2, layer_cfg=dict(self_attn_cfg=deformable, ffn_cfg=feed_forward)),
    decoder=dict(
        num_layers=2,
        layer_cfg=dict(
            self_attn_cfg=dict(embed_dims=64),
            cross_attn_cfg=deformable,
            ffn_cfg=feed_forward)),
    positional_encoding=dict(num_feats=32),
    bbox_head=dict(embed_dims=64),
    dn_cfg=dict(group_cfg=dict(num_dn_queries=20)),
    test_cfg=dict(max_per_img=100))
