# Random masks on single real frames, no labels: the recipe of configs/pretrain/vit_micro_town.py.
_base_ = [
    '../../../../configs/_base_/models/pretrain_vit_micro.py', '../_base_/real_frames_clips.py',
    '../../../../configs/_base_/schedules/pretrain_9000.py', '../../../../configs/_base_/runtime.py'
]
