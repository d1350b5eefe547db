# For few labels: the images vary in scale and place. Learns more slowly, and what it learns holds.
_base_ = ['./atss_vit_micro_camvid.py', '../_base_/datasets/scale_jitter.py']

train_dataloader = _base_.train_dataloader
train_dataloader.dataset.dataset.pipeline.insert(2, _base_.pop('scale_jitter'))
