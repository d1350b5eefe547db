# DINO on a ViT-B/16 with a simple feature pyramid, and window attention for large images.
_base_ = ['./dino.py', '../backbones/vit_base.py']

model = dict(
    data_preprocessor=dict(pad_size_divisor=16),
    backbone=_base_.pop('backbone'),
    neck=dict(_base_.pop('neck'), scales=(2.0, 1.0, 0.5, 0.25)))
