# FCOS on a ViT-B/16 with a simple feature pyramid, and window attention for large images.
_base_ = ['./fcos.py', '../backbones/vit_base.py']

model = dict(
    backbone=_base_.pop('backbone'),
    neck=dict(_base_.pop('neck'), scales=(2.0, 1.0, 0.5, 0.25)),
    bbox_head=dict(
        strides=[8, 16, 32, 64],
        regress_ranges=((-1, 64), (64, 128), (128, 256), (256, 1e8))))
