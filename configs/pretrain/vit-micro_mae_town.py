# What to compare with: random cells of single frames, as masked autoencoders of photographs do.
_base_ = './vit-micro_object_town.py'

model = dict(
    encoder=dict(attention_init='xavier'),
    decoder=dict(attend='frame', attention_init='xavier'),
    target=dict(eps=1e-6),
    masking=dict(type='RandomMask'))

train_dataloader = dict(
    batch_size=24, dataset=dict(dataset=dict(steps=1, one_camera=True)))
