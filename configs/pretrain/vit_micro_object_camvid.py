# Object masks with the boxes of the index; frames without boxes get random masks.
_base_ = './vit_micro_tube_camvid.py'

model = dict(masking=dict(_delete_=True, type='ObjectMask', mask_ratio=0.75))
