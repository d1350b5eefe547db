# ViT-B/16 on nuScenes by the recipe that was ahead at the small size, see docs/results.md, "How many
# labels pretraining saves". A step has as many frames as one of vit-base_object_nuscenes.py.
_base_ = './vit-base_object_nuscenes.py'

model = dict(decoder=dict(attention_scope='frame'), masking=dict(type='RandomMask'))

train_dataloader = dict(
    batch_size=72, dataset=dict(dataset=dict(steps=1, one_camera=True)))
