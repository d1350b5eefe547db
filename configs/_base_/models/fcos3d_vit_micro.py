# FCOS3D's design small enough to train on two CPU cores: a ViT of 1.3 M parameters, three levels,
# one convolution a tower.
_base_ = ['./fcos3d.py', '../backbones/vit_micro.py']

model = dict(
    data_preprocessor=dict(pad_size_divisor=16),
    backbone=_base_.pop('backbone'),
    neck=_base_.pop('neck'),
    bbox_head=dict(
        in_channels=64,
        feat_channels=64,
        stacked_convs=1,
        strides=[8, 16, 32],
        level_limits=[32, 64],
        # Most objects are two or three cells large: 2.5, the paper's, would let scores depend
        # more on where between two cells an object lies than on what it is.
        centerness_decay=1.0,
        bbox_coder=dict(metres_per_cell=1.0)),
    # MMCV compares rotated boxes pair by pair, a second an image for 1000 of them on one core.
    test_cfg=dict(nms_pre=300))
