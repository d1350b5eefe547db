# Faster R-CNN small enough to train on two CPU cores, with MMDetection's ResNet-18.
_base_ = ['./faster_rcnn_vit_micro.py', '../backbones/r18_cpu.py']

# Its statistics stay as they are (ResNet's own default); the other detectors' follow the data.
del _base_.backbone.norm_eval

model = dict(
    data_preprocessor=dict(pad_size_divisor=32),
    backbone=_base_.pop('backbone'),
    neck=_base_.pop('neck'))
