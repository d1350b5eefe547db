# The recipe of vit_micro_town.py on single images of your own, no labels, for one CPU core. Build the
# index first: tools/create_index.py frames --root data/drives
_base_ = [
    '../_base_/models/pretrain_vit_micro.py', '../_base_/datasets/frames_clips.py',
    '../_base_/schedules/pretrain_9000.py', '../_base_/runtime.py'
]

train_dataloader = dict(
    batch_size=4, num_workers=0, persistent_workers=False, pin_memory=False,
    dataset=dict(image_size=(224, 320)))
