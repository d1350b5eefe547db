# Loss-guided masks on the generated town: a growing fraction of the hidden patches are hard to
# reconstruct.
_base_ = [
    '../../../../configs/_base_/models/pretrain_vit_micro.py', '../_base_/town_clips.py',
    '../_base_/pretrain_600.py', '../../../../configs/_base_/runtime.py'
]

model = dict(
    decoder=dict(attention_scope='clip'),
    masking=dict(_delete_=True, type='GuidedMask', mask_ratio=0.75, budget_fraction=0.0),
    teacher=dict(type='LossPredictor'))

custom_hooks = [
    dict(
        type='MaskSchedule',
        moves=[dict(name='budget_fraction', start=0.0, end=0.5, begin=0.1, until=1.0)])
]
