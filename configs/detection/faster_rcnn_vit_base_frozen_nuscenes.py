# The backbone as it was pretrained: no gradients. It is seen whole, as it was trained; windows are
# something that it would first have to get used to.
_base_ = './faster_rcnn_vit_base_nuscenes.py'

model = dict(backbone=dict(frozen_stages=12, window_size=None))
