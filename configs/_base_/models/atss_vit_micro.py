# ATSS on the small ViT. It selects positive locations with statistics of each object, not with a
# fixed anchor overlap, and so learns small objects in far fewer iterations than RetinaNet.
_base_ = './retinanet_vit_micro.py'

model = dict(
    type='ATSS',
    neck=dict(scales=(2.0, 1.0, 0.5)),
    bbox_head=dict(
        _delete_=True, type='ATSSHead', num_classes=2, in_channels=64, feat_channels=64,
        stacked_convs=2,
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
    train_cfg=dict(assigner=dict(_delete_=True, type='ATSSAssigner', topk=9, ignore_iof_thr=0.5)))
