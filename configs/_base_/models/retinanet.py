# RetinaNet with MMDetection's ResNet-50 and FPN, for two classes that are often small.
_base_ = 'mmdet::_base_/models/retinanet_r50_fpn.py'

# Read by drivemim/training/start_weights.py: an export or another checkpoint; None: random weights.
backbone_checkpoint = None

model = dict(
    # No downloaded weights; batch norm learns the statistics of our data.
    backbone=dict(init_cfg=None, frozen_stages=-1, norm_eval=False),
    bbox_head=dict(
        num_classes=2,
        # Anchors from 12 pixels. MMDetection's start at 32: in driving frames, pedestrians have a
        # median of 9 x 26 pixels at an image width of 320, which is 22 x 65 at 800.
        anchor_generator=dict(octave_base_scale=1.5, ratios=[0.5, 1.0, 2.5])),
    # Objects that the filters exclude are ignored, not treated as background.
    train_cfg=dict(assigner=dict(ignore_iof_thr=0.5)))
