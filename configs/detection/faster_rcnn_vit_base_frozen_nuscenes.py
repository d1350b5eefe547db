# Frozen backbone: no gradients. Its attention is global, like in pretraining, because it cannot
# adapt to window attention.
_base_ = './faster_rcnn_vit_base_nuscenes.py'

model = dict(backbone=dict(frozen_stages=12, window_size=None))
