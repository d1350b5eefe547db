# Tubes through two moments of real frames, whose edges are predicted in place of their pixels.
_base_ = './vit-micro_tube_camvid.py'

model = dict(target=dict(_delete_=True, type='OrientedGradients'))
