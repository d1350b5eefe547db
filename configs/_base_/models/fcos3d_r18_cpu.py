# A detector like FCOS3D, small enough to train on two CPU cores, with MMDetection's ResNet-18.
_base_ = ['./fcos3d_vit_micro.py', '../backbones/r18_cpu.py']

model = dict(
    data_preprocessor=dict(pad_size_divisor=32),
    backbone=dict(_base_.pop('backbone'), style='pytorch'),
    neck=_base_.pop('neck'))
