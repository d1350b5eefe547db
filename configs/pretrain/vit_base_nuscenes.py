# ViT-B/16 on nuScenes, 8 GPUs: tools/train.py THIS --launcher pytorch --amp
# The default recipe; docs/results/results.md has its results with a small ViT. An iteration has as
# many frames as in vit_base_object_nuscenes.py.
_base_ = [
    '../_base_/models/pretrain_vit.py', '../_base_/datasets/nuscenes_clips.py',
    '../_base_/schedules/pretrain.py', '../_base_/runtime.py'
]

model = dict(encoder=dict(drop_path_rate=0.1, with_cp=True))

train_dataloader = dict(
    batch_size=72, dataset=dict(num_frames=1, single_camera=True))
