# A detector like FCOS3D on the generated town, small enough to train on two CPU cores: a ViT with
# 1.3 M parameters, three levels, one convolution per tower.
_base_ = [
    '../../../../configs/_base_/models/fcos3d.py', '../_base_/town_detection3d.py',
    '../_base_/detection_600.py', '../../../../configs/_base_/runtime.py'
]
default_scope = 'mmdet'
custom_imports = dict(imports=[*_base_.custom_imports.imports, 'drivemim.models.heads'])

model = dict(
    data_preprocessor=dict(pad_size_divisor=16),
    backbone=dict(_delete_=True, type='drivemim.ViT', arch='micro', patch_size=16),
    neck=dict(
        _delete_=True, type='drivemim.SimpleFeaturePyramid', in_channels=128, out_channels=64,
        scales=(2.0, 1.0, 0.5)),
    bbox_head=dict(
        in_channels=64,
        feat_channels=64,
        stacked_convs=1,
        strides=[8, 16, 32],
        level_limits=[32, 64],
        # Most objects span two or three feature map locations. With the paper's 2.5, scores would
        # depend more on an object's position between two locations than on its class.
        centerness_decay=1.0,
        bbox_coder=dict(metres_per_stride=1.0)),
    # MMCV compares rotated boxes pair by pair: 1000 boxes take a second per image on one core.
    test_cfg=dict(nms_pre=300))
