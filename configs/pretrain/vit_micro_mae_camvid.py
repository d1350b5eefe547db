# Baseline: MAE's recipe for photographs.
_base_ = './vit_micro_camvid.py'

model = dict(
    encoder=dict(attention_init='xavier'),
    decoder=dict(
        _delete_=True, type='ClipDecoder', embed_dims=96, depth=2, num_heads=3,
        attention_scope='frame'),
    target=dict(eps=1e-6))
