# The fifty images of nuImages mini, small enough for two CPU cores; training and test use the same.
_base_ = './nuimages_instances.py'

image_size = (192, 320)  # height, width
ann_file = 'annotations/nuimages_v1.0-mini.json'

train_pipeline = _base_.train_pipeline
train_pipeline[0].image_size = image_size
test_pipeline = _base_.test_pipeline
test_pipeline[0].image_size = image_size

train_dataloader = dict(
    batch_size=8, num_workers=0, persistent_workers=False,
    dataset=dict(dataset=dict(ann_file=ann_file, pipeline=train_pipeline)))
val_dataloader = dict(
    batch_size=8, num_workers=0, persistent_workers=False,
    dataset=dict(ann_file=ann_file, pipeline=test_pipeline))
test_dataloader = val_dataloader
val_evaluator = dict(ann_file=_base_.data_root + ann_file)
test_evaluator = val_evaluator
