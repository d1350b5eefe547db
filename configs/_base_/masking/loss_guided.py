# Loss-guided masks: a growing fraction of the hidden patches are hard to reconstruct.
# Configs move masking and teacher into their model with pop, so that neither remains a top-level key.
masking = dict(_delete_=True, type='GuidedMask', mask_ratio=0.75, budget_fraction=0.0)
teacher = dict(type='LossPredictor')

custom_hooks = [
    dict(
        type='MaskSchedule',
        moves=[dict(name='budget_fraction', start=0.0, end=0.5, begin=0.1, until=1.0)])
]
