# Per clip of the generated town, pick one of: object masks over a world mask, causal masks, or
# loss-guided masks.
_base_ = [
    '../../../../configs/_base_/models/pretrain_vit_micro.py', '../_base_/town_clips.py',
    '../_base_/pretrain_600.py', '../../../../configs/_base_/runtime.py'
]

model = dict(
    decoder=dict(attention_scope='clip'),
    masking=dict(
        _delete_=True,
        type='MixtureMask',
        mask_ratio=0.75,
        strategies=[
            dict(type='ObjectMask', base=dict(type='WorldMask')),
            dict(type='CausalMask', base=dict(type='TubeMask')),
            dict(type='GuidedMask', base=dict(type='WorldMask')),
        ],
        weights=[2, 1, 1]),
    teacher=dict(type='LossPredictor'))

custom_hooks = [
    dict(
        type='MaskSchedule',
        moves=[dict(name='strategies.2.budget_fraction', start=0.0, end=0.5, begin=0.1, until=1.0)])
]
