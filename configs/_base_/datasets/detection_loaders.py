# How frames are drawn for training, with a seed each, and read in order for evaluation. Data sets
# with boxes inherit it and name what is drawn from: train_dataloader.dataset.dataset and
# val_dataloader.dataset.
train_dataloader = dict(
    batch_size=4,
    num_workers=8,
    persistent_workers=True,
    sampler=dict(type='drivemim.DrawSampler'),
    dataset=dict(type='drivemim.SeededDataset'))
val_dataloader = dict(
    batch_size=4,
    num_workers=8,
    persistent_workers=True,
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(test_mode=True))
test_dataloader = val_dataloader
