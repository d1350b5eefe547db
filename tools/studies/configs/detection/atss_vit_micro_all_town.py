# ATSS on the generated town, with objects of all sizes: the masking study's detector.
_base_ = [
    '../../../../configs/_base_/models/atss.py', '../_base_/town_detection.py',
    '../_base_/detection_600.py', '../../../../configs/_base_/runtime.py'
]
default_scope = 'mmdet'
