# A ViT of 3.7 M parameters, for two CPU cores; in detectors it is that of backbones/vit_micro.py.
_base_ = './pretrain_vit.py'

model = dict(
    encoder=dict(
        arch=None, embed_dims=192, depth=8, num_heads=3, attention_init='mimetic'),
    decoder=dict(embed_dims=96, depth=2, num_heads=3, attention_init='mimetic'))
