# What to compare with: as masked autoencoders of photographs do it.
_base_ = './vit-micro_single_camvid.py'

model = dict(
    encoder=dict(attention_init='xavier'),
    decoder=dict(attention_init='xavier'),
    target=dict(eps=1e-6))
