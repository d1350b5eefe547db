_base_ = './resnet.py'
model = dict(
    encoder=dict(_delete_=True, type='ViT', embed_dims=16, depth=3, num_heads=2, patch_size=8))
optim_wrapper = dict(constructor='LayerDecay', paramwise_cfg=dict(decay_rate=0.8))
