# For the label study on IDD. "jitter" is random scale and translation.
_base_ = [
    '../../../../configs/_base_/models/atss.py', '../_base_/idd_detection.py',
    '../_base_/detection_600.py', '../../../../configs/_base_/runtime.py'
]
default_scope = 'mmdet'
