# What to compare with: random cells of single frames, as masked autoencoders of photographs do.
_base_ = './vit-micro_tube_camvid.py'

model = dict(
    encoder=dict(attention_init='xavier'),
    decoder=dict(attend='frame', attention_init='xavier'),
    masking=dict(type='RandomMask'))

train_dataloader = _base_.train_dataloader
for each in train_dataloader.dataset.dataset.datasets:
    each.steps = 1
train_dataloader.batch_size = 32
