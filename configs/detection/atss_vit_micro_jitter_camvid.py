# For few labels: random scale and translation. The detector learns more slowly but overfits less.
_base_ = ['./atss_vit_micro_camvid.py', '../_base_/datasets/scale_jitter.py']

train_dataloader = _base_.train_dataloader
train_dataloader.dataset.dataset.pipeline.insert(2, _base_.pop('scale_jitter'))
