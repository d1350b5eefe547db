# For the label study on IDD: objects at least 13 pixels high. "jitter" is random scale and
# translation: few labelled frames are seen often, and would be memorised without it.
_base_ = [
    '../../../../configs/_base_/models/atss.py', '../_base_/idd_detection.py',
    '../_base_/detection_600.py', '../../../../configs/_base_/runtime.py'
]
default_scope = 'mmdet'
