# The boxes are those that the index has; frames without any are masked at random.
_base_ = './vit-micro_tube_camvid.py'

model = dict(masking=dict(_delete_=True, type='ObjectMask', ratio=0.75))
