# ViT-B/16 on nuScenes with the recipe that was best for the small ViT: docs/results/results.md, "How many
# labels pretraining saves". An iteration has as many frames as in vit_base_object_nuscenes.py.
_base_ = './vit_base_object_nuscenes.py'

model = dict(decoder=dict(attention_scope='frame'), masking=dict(type='RandomMask'))

train_dataloader = dict(
    batch_size=72, dataset=dict(num_frames=1, single_camera=True))
