# Random cells of single frames, with the target and first weights of attention of the recipe for the
# town, see vit-micro_single_town.py.
_base_ = './vit-micro_tube_camvid.py'

model = dict(
    decoder=dict(attention_scope='frame'),
    # Cells that deviate by less than some 13 grey levels are sky, road and noise: count less.
    target=dict(eps=0.05),
    masking=dict(type='RandomMask'))

train_dataloader = _base_.train_dataloader
for each in train_dataloader.dataset.dataset.datasets:
    each.steps = 1
train_dataloader.batch_size = 32
