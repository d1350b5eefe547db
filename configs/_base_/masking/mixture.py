# Per clip, pick one of: object masks over a world mask, causal masks, or loss-guided masks.
# Configs move masking and teacher into their model with pop, so that neither remains a top-level key.
masking = dict(
    _delete_=True,
    type='MixtureMask',
    mask_ratio=0.75,
    strategies=[
        dict(type='ObjectMask', background=dict(type='WorldMask')),
        dict(type='CausalMask', background=dict(type='TubeMask')),
        dict(type='GuidedMask', background=dict(type='WorldMask')),
    ],
    weights=[2, 1, 1])
teacher = dict(type='LossPredictor')

custom_hooks = [
    dict(
        type='MaskSchedule',
        moves=[dict(name='strategies.2.budget_fraction', start=0.0, end=0.5, begin=0.1, until=1.0)])
]
