# Everything a mask can know, one thing a clip: objects over the world, the future, what is hard.
_base_ = ['./vit-micro_tube_camvid.py', '../_base_/masking/mixture.py']

model = dict(masking=_base_.pop('masking'), guide=_base_.pop('guide'))
