# Random patches of single frames: ahead of plain masked autoencoding, see docs/results.md.
_base_ = './vit-micro_object_town.py'

model = dict(decoder=dict(attention_scope='frame'), masking=dict(type='RandomMask'))

train_dataloader = dict(
    batch_size=24, dataset=dict(dataset=dict(steps=1, one_camera=True)))
