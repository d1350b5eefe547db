# FCOS3D's design on a ViT-B/16 with a simple feature pyramid, seen whole, without windows.
_base_ = ['./fcos3d.py', '../backbones/vit_base.py']

del _base_.backbone.window_size, _base_.backbone.global_blocks

model = dict(
    backbone=_base_.pop('backbone'),
    neck=dict(_base_.pop('neck'), scales=(2.0, 1.0, 0.5, 0.25)),
    bbox_head=dict(strides=[8, 16, 32, 64], level_limits=[48, 96, 192]))
