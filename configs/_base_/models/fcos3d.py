# A detector like FCOS3D: MMDetection's FCOS on a ResNet-50 with FPN, with a head for 3-D boxes of
# nuScenes' ten classes. Configs that use it list 'drivemim.models.heads' in custom_imports.
# Read by drivemim/training/start_weights.py: an export or another checkpoint; None: random weights.
backbone_checkpoint = None

model = dict(
    type='FCOS',
    data_preprocessor=dict(
        type='DetDataPreprocessor',
        mean=[123.675, 116.28, 103.53],
        std=[58.395, 57.12, 57.375],
        bgr_to_rgb=True,
        pad_size_divisor=32),
    backbone=dict(
        type='ResNet',
        depth=50,
        out_indices=(0, 1, 2, 3),
        norm_cfg=dict(type='BN', requires_grad=True),
        norm_eval=False,
        style='pytorch'),
    neck=dict(
        type='FPN',
        in_channels=[256, 512, 1024, 2048],
        out_channels=256,
        start_level=1,
        add_extra_convs='on_output',
        num_outs=5,
        relu_before_extra_convs=True),
    bbox_head=dict(
        type='drivemim.Mono3DHead',
        num_classes=10,
        in_channels=256,
        strides=[8, 16, 32, 64, 128],
        level_limits=[48, 96, 192, 384],  # pixels of an object's longer side
        bbox_coder=dict(
            type='drivemim.Mono3DCoder',
            # Width, length, height in metres; the encoded (logarithmic) size is relative to these.
            class_sizes=[
                [1.9, 4.6, 1.7],  # car
                [2.4, 7.0, 2.8],  # truck
                [2.8, 11.0, 3.4],  # bus
                [2.7, 12.0, 3.8],  # trailer
                [2.8, 6.0, 3.2],  # construction_vehicle
                [0.7, 0.7, 1.75],  # pedestrian
                [0.8, 2.1, 1.5],  # motorcycle
                [0.6, 1.7, 1.4],  # bicycle
                [0.4, 0.4, 1.0],  # traffic_cone
                [2.4, 0.5, 1.0],  # barrier
            ]),
        # Indices into drivemim.data.classes.ATTRIBUTES: cycles with and without rider;
        # pedestrians moving, sitting, standing; vehicles moving, parked, stopped.
        class_attributes=[
            [5, 6, 7], [5, 6, 7], [5, 6, 7], [5, 6, 7], [5, 6, 7], [2, 3, 4], [0, 1], [0, 1],
            [], []
        ]),
    train_cfg=dict(),
    test_cfg=dict(
        score_thr=0.01,
        nms_pre=1000,
        nms=dict(type='nms_rotated', iou_threshold=0.2),
        max_per_img=200))
