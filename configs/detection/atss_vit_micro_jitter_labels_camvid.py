# For the label study on CamVid: about the same minimum object height in the 240x320 input as in
# atss_vit_micro_labels_town.py.
_base_ = './atss_vit_micro_jitter_camvid.py'

filters = dict(min_width=8.0, min_height=20.0)

train_dataloader = dict(batch_size=4, dataset=dict(dataset=dict(filters=filters)))
val_dataloader = dict(dataset=dict(filters=filters))
test_dataloader = val_dataloader
