# RTMDet's head on a ViT-B/16 with a simple feature pyramid, and window attention for large images.
_base_ = ['./rtmdet.py', '../backbones/vit_base.py']

model = dict(
    backbone=_base_.pop('backbone'),
    neck=dict(_base_.pop('neck'), scales=(2.0, 1.0, 0.5)))
