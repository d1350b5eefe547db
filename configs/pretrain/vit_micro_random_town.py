_base_ = './vit_micro_object_town.py'

model = dict(masking=dict(_delete_=True, type='RandomMask', mask_ratio=0.75))
