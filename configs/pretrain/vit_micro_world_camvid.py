_base_ = './vit_micro_tube_camvid.py'

model = dict(masking=dict(_delete_=True, type='WorldMask', mask_ratio=0.75))
