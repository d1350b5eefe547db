# Every registered mask strategy at the same mask ratio, some with variants. They are compared by
# tools/analyze_masks.py, tools/visualize_masks.py and tools/benchmark.py masks, and shown in
# docs/guides/masking.md.
mask_ratio = 0.75

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
    random=dict(type='RandomMask', mask_ratio=mask_ratio),
    block=dict(type='BlockMask', mask_ratio=mask_ratio),
    multi_block=dict(type='MultiBlockMask', mask_ratio=mask_ratio),
    grid=dict(type='GridMask', mask_ratio=mask_ratio),
    coarse_patch=dict(type='CoarsePatchMask', mask_ratio=mask_ratio),
    tube=dict(type='TubeMask', mask_ratio=mask_ratio),
    causal=dict(type='CausalMask', mask_ratio=mask_ratio),
    motion=dict(type='MotionMask', mask_ratio=mask_ratio),
    world_time=dict(type='WorldMask', mask_ratio=mask_ratio, shared_over='time'),
    world_cameras=dict(type='WorldMask', mask_ratio=mask_ratio, shared_over='cameras'),
    world=dict(type='WorldMask', mask_ratio=mask_ratio, shared_over='both'),
    camera_dropout=dict(type='CameraDropoutMask', mask_ratio=mask_ratio, drop_probability=1.0),
    guided=dict(type='GuidedMask', mask_ratio=mask_ratio),
    guided_hints=dict(type='GuidedMask', mask_ratio=mask_ratio, hint_probability=0.2),
    object=dict(type='ObjectMask', mask_ratio=mask_ratio),
    object_block=dict(type='ObjectMask', mask_ratio=mask_ratio, base=dict(type='BlockMask')),
    object_peek=dict(type='ObjectMask', mask_ratio=mask_ratio, hide_probability=1.0, num_peek_frames=1),
    object_quota=dict(
        type='ObjectMask',
        mask_ratio=mask_ratio,
        mode='quota',
        budget_fraction=dict(pedestrian=0.05, vehicle=0.1)),
    object_protect=dict(type='ObjectMask', mask_ratio=mask_ratio, mode='protect'),
    object_world=dict(type='ObjectMask', mask_ratio=mask_ratio, base=dict(type='WorldMask')),
    stack=dict(
        type='StackMask',
        mask_ratio=mask_ratio,
        strategies=[dict(type='BlockMask'), dict(type='RandomMask')],
        budget_fractions=[0.5, 0.5]),
    mixture=dict(
        type='MixtureMask',
        mask_ratio=mask_ratio,
        strategies=[
            dict(type='ObjectMask', base=dict(type='WorldMask')),
            dict(type='WorldMask'),
            dict(type='CausalMask'),
        ]),
)
