# Random masks on single real frames: the recipe of configs/pretrain/vit_micro_town.py.
_base_ = [
    '../_base_/pretrain_vit_micro.py', '../_base_/camvid_frames.py',
    '../_base_/pretrain_600.py', '../../../../configs/_base_/runtime.py'
]
