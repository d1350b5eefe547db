_base_ = './vit_micro_tube_camvid.py'

model = dict(masking=dict(_delete_=True, type='RandomMask', ratio=0.75))
