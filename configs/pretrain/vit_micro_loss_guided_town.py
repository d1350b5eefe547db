# Loss-guided masks: a growing fraction of the hidden patches are hard to reconstruct.
_base_ = ['./vit_micro_object_town.py', '../_base_/masking/loss_guided.py']

model = dict(masking=_base_.pop('masking'), teacher=_base_.pop('teacher'))
