# RTMDet's head on a ViT-B/16 with a simple feature pyramid, and windows for large images.
_base_ = './rtmdet.py'

model = dict(
    backbone=dict(
        _delete_=True, type='drivemim.ViT', arch='base', patch_size=16, drop_path_rate=0.1,
        window_size=14, global_blocks=4),
    neck=dict(
        _delete_=True,
        type='drivemim.SimpleFeaturePyramid',
        in_channels=768,
        out_channels=256,
        scales=(2.0, 1.0, 0.5)))
