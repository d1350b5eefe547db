# Data loaders for detection: random frames, each with a seed, for training; frames in order for
# evaluation. Configs of data sets with boxes inherit this file and set the data sets:
# train_dataloader.dataset.dataset and val_dataloader.dataset.
train_dataloader = dict(
    batch_size=4,
    num_workers=8,
    persistent_workers=True,
    sampler=dict(type='drivemim.SeededInfiniteSampler'),
    dataset=dict(type='drivemim.SeededDataset'))
val_dataloader = dict(
    batch_size=4,
    num_workers=8,
    persistent_workers=True,
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(test_mode=True))
test_dataloader = val_dataloader
