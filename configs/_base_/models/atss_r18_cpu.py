# ATSS small enough to train on two CPU cores, with MMDetection's ResNet-18.
_base_ = ['./atss_vit_micro.py', '../backbones/r18_cpu.py']

model = dict(
    data_preprocessor=dict(pad_size_divisor=32),
    backbone=_base_.pop('backbone'),
    neck=_base_.pop('neck'))
