# ViT-B/16 on single images of your own, no labels, one GPU: tools/train.py THIS --amp
# The recipe of vit_base_nuscenes.py.
_base_ = [
    '../_base_/models/pretrain_vit.py', '../_base_/datasets/frames_clips.py',
    '../_base_/schedules/pretrain.py', '../_base_/runtime.py'
]

model = dict(encoder=dict(drop_path_rate=0.1, with_cp=True))
