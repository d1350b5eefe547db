# ViT-B/16 with object masks on clips of nuScenes, 8 GPUs:
# tools/train.py THIS --launcher pytorch --amp
_base_ = [
    '../_base_/models/pretrain_vit.py', '../_base_/datasets/nuscenes_clips.py',
    '../_base_/schedules/pretrain.py', '../_base_/runtime.py'
]

model = dict(
    encoder=dict(drop_path_rate=0.1, with_cp=True),
    decoder=dict(attention_scope='clip'),
    masking=dict(type='ObjectMask'))

auto_scale_lr = dict(base_batch_size=32)  # clips of 18 images
