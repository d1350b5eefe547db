# Baseline: MAE's recipe for photographs, with a ViT-B/16.
_base_ = './vit_base_nuscenes.py'

model = dict(
    encoder=dict(attention_init='xavier'),
    decoder=dict(
        _delete_=True, type='ClipDecoder', embed_dims=384, depth=4, num_heads=6,
        attention_scope='frame'),
    target=dict(eps=1e-6))
