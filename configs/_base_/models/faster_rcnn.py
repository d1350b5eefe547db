# Faster R-CNN with MMDetection's ResNet-50 and FPN, for two classes that are often small.
_base_ = 'mmdet::_base_/models/faster-rcnn_r50_fpn.py'

# Read by drivemim/training/start_weights.py: an export or another checkpoint; None: random weights.
backbone_checkpoint = None

model = dict(
    # No downloaded weights; batch norm learns the statistics of our data.
    backbone=dict(init_cfg=None, frozen_stages=-1, norm_eval=False),
    # Half the size of MMDetection's anchors, and taller ones: pedestrians are small and upright.
    rpn_head=dict(anchor_generator=dict(scales=[4], ratios=[0.5, 1.0, 2.5])),
    roi_head=dict(bbox_head=dict(num_classes=2)),
    # Objects that the filters exclude are ignored, not treated as background.
    train_cfg=dict(
        rpn=dict(assigner=dict(ignore_iof_thr=0.5)),
        rcnn=dict(assigner=dict(ignore_iof_thr=0.5))))
