# Tube masks over two time steps of real frames; the target is oriented gradients, not pixels.
_base_ = './vit_micro_tube_camvid.py'

model = dict(target=dict(_delete_=True, type='OrientedGradients'))
