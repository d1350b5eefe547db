# For the label study on CamVid: about the same minimum object height in the 240x320 input as in
# configs/detection/atss_vit_micro_town.py. "jitter" is random scale and translation: few labelled
# frames are seen often, and would be memorised without it.
_base_ = [
    '../../../../configs/_base_/models/atss.py', '../_base_/camvid_detection.py',
    '../_base_/detection_600.py', '../../../../configs/_base_/runtime.py'
]
default_scope = 'mmdet'

filters = dict(min_width=8.0, min_height=20.0)

train_dataloader = dict(batch_size=4, dataset=dict(dataset=dict(
    filters=filters,
    pipeline=[
        dict(type='drivemim.LoadReducedImage', image_size=(240, 320), skip_ignored_only=True),
        dict(type='RandomFlip', prob=0.5),
        dict(type='RandomAffine', max_rotate_degree=0.0, max_shear_degree=0.0,
             max_translate_ratio=0.2, scaling_ratio_range=(0.8, 1.8)),
        dict(type='PackDetInputs', meta_keys=(
            'img_id', 'img_path', 'ori_shape', 'img_shape', 'scale_factor', 'flip',
            'flip_direction', 'frame_token'))
    ])))
val_dataloader = dict(dataset=dict(filters=filters))
test_dataloader = val_dataloader
