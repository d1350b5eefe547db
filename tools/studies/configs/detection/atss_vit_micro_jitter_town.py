# For few labels: random scale and translation. The detector learns more slowly but overfits less.
_base_ = [
    '../../../../configs/_base_/models/atss.py', '../_base_/town_detection.py',
    '../_base_/detection_600.py', '../../../../configs/_base_/runtime.py'
]
default_scope = 'mmdet'

train_dataloader = dict(dataset=dict(dataset=dict(
    pipeline=[
        dict(type='drivemim.LoadReducedImage', image_size=(192, 320), skip_ignored_only=True),
        dict(type='RandomFlip', prob=0.5),
        dict(type='RandomAffine', max_rotate_degree=0.0, max_shear_degree=0.0,
             max_translate_ratio=0.2, scaling_ratio_range=(0.8, 1.8)),
        dict(type='PackDetInputs', meta_keys=(
            'img_id', 'img_path', 'ori_shape', 'img_shape', 'scale_factor', 'flip',
            'flip_direction', 'frame_token'))
    ])))
