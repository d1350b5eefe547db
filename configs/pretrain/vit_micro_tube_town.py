_base_ = './vit_micro_object_town.py'

model = dict(masking=dict(_delete_=True, type='TubeMask', mask_ratio=0.75))
