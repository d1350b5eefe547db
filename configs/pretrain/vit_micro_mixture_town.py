# Per clip, pick one of: object masks over a world mask, causal masks, or loss-guided masks.
_base_ = ['./vit_micro_object_town.py', '../_base_/masking/mixture.py']

model = dict(masking=_base_.pop('masking'), teacher=_base_.pop('teacher'))
