# Mask R-CNN on a ViT-B/16 with a simple feature pyramid, and window attention for large images.
_base_ = ['./mask_rcnn.py', '../backbones/vit_base.py']

model = dict(
    backbone=_base_.pop('backbone'),
    neck=dict(_base_.pop('neck'), scales=(4.0, 2.0, 1.0, 0.5, 0.25)))
