# Baseline: MAE's recipe for photographs, with a ResNet-18.
_base_ = './resnet18_frames.py'

model = dict(
    decoder=dict(
        _delete_=True, type='ClipDecoder', embed_dims=96, depth=2, num_heads=3,
        attention_scope='frame'),
    target=dict(eps=1e-6))
