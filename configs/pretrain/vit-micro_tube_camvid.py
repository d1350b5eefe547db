# The small ViT on real frames without labels, so without boxes that a mask could know of.
_base_ = [
    '../_base_/models/pretrain_vit.py', '../_base_/datasets/camvid_clips.py',
    '../_base_/schedules/pretrain_cpu.py', '../_base_/runtime.py'
]

model = dict(
    encoder=dict(
        arch=None, embed_dims=192, depth=8, num_heads=3, attention_init='mimetic'),
    decoder=dict(embed_dims=96, depth=2, num_heads=3, attention_init='mimetic'),
    masking=dict(_delete_=True, type='TubeMask', ratio=0.75))
