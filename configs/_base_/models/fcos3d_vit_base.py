# FCOS3D's design on a ViT-B/16 with a simple feature pyramid.
_base_ = './fcos3d.py'

model = dict(
    backbone=dict(
        _delete_=True, type='drivemim.ViT', arch='base', patch_size=16, drop_path_rate=0.1),
    neck=dict(
        _delete_=True,
        type='drivemim.SimpleFeaturePyramid',
        in_channels=768,
        out_channels=256,
        scales=(2.0, 1.0, 0.5, 0.25)),
    bbox_head=dict(strides=[8, 16, 32, 64], level_limits=[48, 96, 192]))
