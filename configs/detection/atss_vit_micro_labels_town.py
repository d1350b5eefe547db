# The label study's: a smaller ViT, and objects that it can learn to find within hundreds of steps.
_base_ = './atss_vit_micro_town.py'

filters = dict(min_width=12.0, min_height=30.0, max_distance=40.0)

model = dict(
    backbone=dict(embed_dims=128, depth=6, num_heads=4), neck=dict(in_channels=128))

train_dataloader = dict(batch_size=4, dataset=dict(dataset=dict(filters=filters)))
val_dataloader = dict(dataset=dict(filters=filters))
test_dataloader = val_dataloader
