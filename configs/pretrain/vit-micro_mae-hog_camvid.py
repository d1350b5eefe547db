# Random cells of single frames whose edges are predicted in place of their pixels.
_base_ = './vit-micro_mae_camvid.py'

model = dict(
    encoder=dict(attention_init='mimetic'),
    decoder=dict(attention_init='mimetic'),
    target=dict(_delete_=True, type='OrientedGradients'))
