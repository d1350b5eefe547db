# For the label study on IDD: objects at least 13 pixels high, random scale and translation.
_base_ = [
    '../_base_/models/atss_r18_cpu.py', '../_base_/datasets/idd_detection.py',
    '../_base_/schedules/detection_cpu.py', '../_base_/runtime.py'
]
default_scope = 'mmdet'
