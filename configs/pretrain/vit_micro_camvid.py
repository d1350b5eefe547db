# Random masks on single frames: the recipe of vit_micro_town.py.
_base_ = './vit_micro_tube_camvid.py'

model = dict(
    decoder=dict(attention_scope='frame'),
    masking=dict(type='RandomMask'))

train_dataloader = _base_.train_dataloader
for each in train_dataloader.dataset.datasets:
    each.num_frames = 1
train_dataloader.batch_size = 32
