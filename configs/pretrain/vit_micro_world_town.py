_base_ = './vit_micro_object_town.py'

model = dict(masking=dict(_delete_=True, type='WorldMask', mask_ratio=0.75))
