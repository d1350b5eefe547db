# ATSS on a ViT with 1.3 M parameters, as configs/pretrain/vit_micro_town.py pretrains it, and a
# pyramid of three levels; small enough to train on two CPU cores. ATSS selects positive locations
# with statistics of each object, not with a fixed anchor overlap, and so learns small objects in
# far fewer iterations than RetinaNet.
# Read by drivemim/training/start_weights.py: an export or another checkpoint; None: random weights.
backbone_checkpoint = None

model = dict(
    type='ATSS',
    data_preprocessor=dict(
        type='DetDataPreprocessor',
        mean=[123.675, 116.28, 103.53],
        std=[58.395, 57.12, 57.375],
        bgr_to_rgb=True,
        pad_size_divisor=16),
    backbone=dict(type='drivemim.ViT', arch='micro', patch_size=16),
    neck=dict(
        type='drivemim.SimpleFeaturePyramid',
        in_channels=128,
        out_channels=64,
        scales=(2.0, 1.0, 0.5)),
    bbox_head=dict(
        type='ATSSHead', num_classes=2, in_channels=64, feat_channels=64, stacked_convs=2,
        anchor_generator=dict(
            type='AnchorGenerator', octave_base_scale=4, scales_per_octave=1, ratios=[1.0],
            strides=[8, 16, 32]),
        bbox_coder=dict(
            type='DeltaXYWHBBoxCoder', target_means=[0.0, 0.0, 0.0, 0.0],
            target_stds=[0.1, 0.1, 0.2, 0.2]),
        loss_cls=dict(
            type='FocalLoss', use_sigmoid=True, gamma=2.0, alpha=0.25, loss_weight=1.0),
        loss_bbox=dict(type='GIoULoss', loss_weight=2.0),
        loss_centerness=dict(type='CrossEntropyLoss', use_sigmoid=True, loss_weight=1.0)),
    # Objects that the filters exclude are ignored, not treated as background.
    train_cfg=dict(
        assigner=dict(type='ATSSAssigner', topk=9, ignore_iof_thr=0.5),
        sampler=dict(type='PseudoSampler'),
        allowed_border=-1, pos_weight=-1, debug=False),
    test_cfg=dict(
        nms_pre=500, min_bbox_size=0, score_thr=0.02, nms=dict(type='nms', iou_threshold=0.5),
        max_per_img=100))
