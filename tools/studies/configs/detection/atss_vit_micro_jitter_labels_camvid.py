# For the label study on CamVid. "jitter" is random scale and translation.
_base_ = [
    '../../../../configs/_base_/models/atss.py', '../_base_/camvid_detection.py',
    '../_base_/detection_600.py', '../../../../configs/_base_/runtime.py'
]
default_scope = 'mmdet'
