# ResNet-50 on single images of your own, no labels, one GPU: tools/train.py THIS --amp
# The recipe of resnet50_nuscenes.py. With several GPUs, add
# --cfg-options model.encoder.backbone.norm_cfg.type=SyncBN
_base_ = [
    '../_base_/models/pretrain_resnet.py', '../_base_/datasets/frames_clips.py',
    '../_base_/schedules/pretrain.py', '../_base_/runtime.py'
]

model = dict(encoder=dict(backbone=dict(with_cp=True)))
