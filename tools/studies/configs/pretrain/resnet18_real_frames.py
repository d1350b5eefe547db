# MMDetection's ResNet-18 on single real frames, no labels: the recipe of vit_micro_real_frames.py.
_base_ = [
    '../_base_/pretrain_resnet18.py', '../_base_/real_frames_clips.py',
    '../../../../configs/_base_/schedules/pretrain_9000.py', '../../../../configs/_base_/runtime.py'
]
