# MMDetection's ResNet-18 on single real frames, no labels: the recipe of
# vit_micro_frames.py.
_base_ = [
    '../_base_/models/pretrain_resnet18.py', '../_base_/datasets/frames_clips.py',
    '../_base_/schedules/pretrain_single_cpu.py', '../_base_/runtime.py'
]

model = dict(
    decoder=dict(attention_scope='frame'),
    masking=dict(_delete_=True, type='RandomMask', mask_ratio=0.6))
