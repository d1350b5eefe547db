# Tube masks on the generated town.
_base_ = [
    '../../../../configs/_base_/models/pretrain_vit_micro.py', '../_base_/town_clips.py',
    '../_base_/pretrain_600.py', '../../../../configs/_base_/runtime.py'
]

model = dict(
    decoder=dict(attention_scope='clip'),
    masking=dict(type='TubeMask'))
