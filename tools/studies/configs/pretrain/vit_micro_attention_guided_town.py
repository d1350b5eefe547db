# Hide patches that a teacher attends to, except for some hints, once the teacher has learned.
_base_ = [
    '../../../../configs/_base_/models/pretrain_vit_micro.py', '../_base_/town_clips.py',
    '../_base_/pretrain_600.py', '../../../../configs/_base_/runtime.py'
]

model = dict(
    decoder=dict(attention_scope='clip'),
    masking=dict(_delete_=True, type='GuidedMask', mask_ratio=0.75, budget_fraction=0.0, hint_probability=0.1),
    # A run of a few hundred iterations needs a faster teacher update than one of many thousands.
    teacher=dict(type='TeacherAttention', momentum=0.98))

custom_hooks = [
    dict(
        type='MaskSchedule',
        moves=[dict(name='budget_fraction', start=0.0, end=0.5, begin=0.1, until=0.5)])
]
