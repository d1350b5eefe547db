# For the label study on CamVid. "jitter" is random scale and translation.
_base_ = [
    '../../../../configs/_base_/models/atss.py', '../_base_/camvid_detection.py',
    '../_base_/detection_600.py', '../../../../configs/_base_/runtime.py'
]
default_scope = 'mmdet'

model = dict(
    data_preprocessor=dict(pad_size_divisor=32),
    backbone=dict(_delete_=True, type='ResNet', depth=18, norm_eval=False),
    neck=dict(
        _delete_=True,
        type='FPN',
        in_channels=[64, 128, 256, 512],
        out_channels=64,
        start_level=1,
        num_outs=3))
