# Random cells of single frames, with the small ViT's target and first weights: for a small budget,
# where as many different frames as possible are worth more than what a mask knows.
_base_ = './vit-micro_object_town.py'

model = dict(decoder=dict(attend='frame'), masking=dict(type='RandomMask'))

train_dataloader = dict(
    batch_size=24, dataset=dict(dataset=dict(steps=1, one_camera=True)))
