# Every registered mask strategy at the same mask ratio, some with variants. They are compared by
# tools/analyze_masks.py, tools/visualize_masks.py and tools/benchmark.py masks, and shown in
# docs/guides/masking.md.
ratio = 0.75

dataset = dict(
    type='ClipDataset',
    index='data/town/drivemim-v1.0-mini.arrow',
    image_size=(224, 400),
    num_frames=3,
    # In order around the car, like nuScenes' rig.
    cameras=(
        'CAM_FRONT_LEFT', 'CAM_FRONT', 'CAM_FRONT_RIGHT', 'CAM_BACK_RIGHT', 'CAM_BACK',
        'CAM_BACK_LEFT'))

strategies = dict(
    random=dict(type='RandomMask', ratio=ratio),
    block=dict(type='BlockMask', ratio=ratio),
    multi_block=dict(type='MultiBlockMask', ratio=ratio),
    grid=dict(type='GridMask', ratio=ratio),
    large_cells=dict(type='LargeCellMask', ratio=ratio),
    tube=dict(type='TubeMask', ratio=ratio),
    causal=dict(type='CausalMask', ratio=ratio),
    motion=dict(type='MotionMask', ratio=ratio),
    world_time=dict(type='WorldMask', ratio=ratio, across='time'),
    world_cameras=dict(type='WorldMask', ratio=ratio, across='cameras'),
    world=dict(type='WorldMask', ratio=ratio, across='both'),
    camera_dropout=dict(type='CameraDropoutMask', ratio=ratio, chance=1.0),
    guided=dict(type='GuidedMask', ratio=ratio),
    guided_hints=dict(type='GuidedMask', ratio=ratio, hints=0.2),
    object=dict(type='ObjectMask', ratio=ratio),
    object_block=dict(type='ObjectMask', ratio=ratio, rest=dict(type='BlockMask')),
    object_peek=dict(type='ObjectMask', ratio=ratio, track_hidden=1.0, peek=1),
    object_balance=dict(
        type='ObjectMask',
        ratio=ratio,
        objects='balance',
        share=dict(pedestrian=0.05, vehicle=0.1)),
    object_spare=dict(type='ObjectMask', ratio=ratio, objects='spare'),
    object_world=dict(type='ObjectMask', ratio=ratio, rest=dict(type='WorldMask')),
    stack=dict(
        type='StackMask',
        ratio=ratio,
        strategies=[dict(type='BlockMask'), dict(type='RandomMask')],
        shares=[0.5, 0.5]),
    mixture=dict(
        type='MixtureMask',
        ratio=ratio,
        strategies=[
            dict(type='ObjectMask', rest=dict(type='WorldMask')),
            dict(type='WorldMask'),
            dict(type='CausalMask'),
        ]),
)
