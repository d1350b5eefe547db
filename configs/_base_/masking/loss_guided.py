# Ever more of the budget goes to the cells that are hard to reconstruct. A config puts masking and
# guide into its model, by pop, so that they are no top-level keys.
masking = dict(_delete_=True, type='GuidedMask', ratio=0.75, share=0.0)
guide = dict(type='LossPredictor')

custom_hooks = [
    dict(
        type='MaskSchedule',
        moves=[dict(name='share', start=0.0, end=0.5, begin=0.1, until=1.0)])
]
