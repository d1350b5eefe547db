# For the label study: only objects that a detector can learn within hundreds of iterations.
_base_ = './atss_vit_micro_town.py'

filters = dict(min_width=12.0, min_height=30.0, max_distance=40.0)

train_dataloader = dict(batch_size=4, dataset=dict(dataset=dict(filters=filters)))
val_dataloader = dict(dataset=dict(filters=filters))
test_dataloader = val_dataloader
