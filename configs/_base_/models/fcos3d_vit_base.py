# A detector like FCOS3D on a ViT-B/16 with a simple feature pyramid.
_base_ = ['./fcos3d.py', '../backbones/vit_base.py']

model = dict(
    backbone=_base_.pop('backbone'),
    neck=dict(_base_.pop('neck'), scales=(2.0, 1.0, 0.5, 0.25)),
    bbox_head=dict(strides=[8, 16, 32, 64], level_limits=[48, 96, 192]))
