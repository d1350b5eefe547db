# Tube masks over two time steps of real frames; the target is oriented gradients, not pixels.
_base_ = [
    '../_base_/pretrain_vit_micro.py', '../_base_/camvid_clips.py',
    '../_base_/pretrain_600.py', '../../../../configs/_base_/runtime.py'
]

model = dict(
    decoder=dict(attention_scope='clip'),
    target=dict(_delete_=True, type='OrientedGradients'),
    masking=dict(type='TubeMask'))
