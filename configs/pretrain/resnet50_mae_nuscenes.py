# Baseline: MAE's recipe for photographs, with a ResNet-50.
_base_ = './resnet50_nuscenes.py'

model = dict(
    decoder=dict(
        _delete_=True, type='ClipDecoder', embed_dims=384, depth=4, num_heads=6,
        attention_scope='frame'),
    target=dict(eps=1e-6))
