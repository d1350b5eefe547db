# Cascade R-CNN with MMDetection's ResNet-50 and FPN, for two classes that are often small.
_base_ = 'mmdet::_base_/models/cascade-rcnn_r50_fpn.py'

# Read by drivemim/training/start_weights.py: an export or another checkpoint; None: random weights.
backbone_checkpoint = None

model = dict(
    # No downloaded weights; batch norm learns the statistics of our data.
    backbone=dict(init_cfg=None, frozen_stages=-1, norm_eval=False),
    # Half the size of MMDetection's anchors, and taller ones: pedestrians are small and upright.
    rpn_head=dict(anchor_generator=dict(scales=[4], ratios=[0.5, 1.0, 2.5])),
    # MMEngine replaces lists as a whole, so copy MMDetection's list and change what differs.
    roi_head=dict(bbox_head=[
        {**each, 'num_classes': 2} for each in _base_.model.roi_head.bbox_head]),
    # Objects that the filters exclude are ignored, not treated as background.
    train_cfg=dict(
        rpn=dict(assigner=dict(ignore_iof_thr=0.5)),
        rcnn=[
            {**each, 'assigner': {**each['assigner'], 'ignore_iof_thr': 0.5}}
            for each in _base_.model.train_cfg.rcnn]))
