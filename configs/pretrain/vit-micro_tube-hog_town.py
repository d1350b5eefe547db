# Tubes through two moments of the generated town, whose edges are predicted, not their pixels.
_base_ = './vit-micro_tube_town.py'

model = dict(target=dict(_delete_=True, type='OrientedGradients'))
