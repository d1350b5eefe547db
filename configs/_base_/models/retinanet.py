# RetinaNet with MMDetection's ResNet-50 and FPN, for two classes that are often small.
_base_ = 'mmdet::_base_/models/retinanet_r50_fpn.py'

backbone_checkpoint = None  # an export of tools/export_backbone.py, or None to start at random

model = dict(
    # No weights from the network, and statistics of our own data.
    backbone=dict(init_cfg=None, frozen_stages=-1, norm_eval=False),
    bbox_head=dict(
        num_classes=2,
        # From 12 pixels up; the shipped anchors begin at 32, which is wider than most
        # pedestrians: in driving frames their median is 9 x 26 pixels at a width of 320.
        anchor_generator=dict(octave_base_scale=1.5, ratios=[0.5, 1.0, 2.5])),
    # Objects that the filters leave out are ignored, not background.
    train_cfg=dict(assigner=dict(ignore_iof_thr=0.5)))
