# Random cells of single frames, with the small ViT's target and first weights: ahead of plain masked
# autoencoding and of the world mask in a pretraining of half an hour, see docs/results.md.
_base_ = './vit-micro_object_town.py'

model = dict(decoder=dict(attention_scope='frame'), masking=dict(type='RandomMask'))

train_dataloader = dict(
    batch_size=24, dataset=dict(dataset=dict(steps=1, one_camera=True)))
