# The generated town with 2-D boxes, small enough for two CPU cores.
_base_ = './nuscenes_detection.py'

index = 'work_dirs/demo/town.arrow'
image_size = (192, 320)  # height, width
# In pixels of the stored 800x450 images.
filters = dict(min_width=5.0, min_height=10.0, max_distance=60.0)

# No colour augmentation: it needs more iterations than a short schedule has.
train_pipeline = [
    each for each in _base_.train_pipeline if each['type'] != 'YOLOXHSVRandomAug']
train_pipeline[0].image_size = image_size
test_pipeline = _base_.test_pipeline
test_pipeline[0].image_size = image_size

train_dataloader = dict(
    batch_size=8, num_workers=0, persistent_workers=False,
    dataset=dict(dataset=dict(
        index=index, scenes='mini_train', filters=filters, pipeline=train_pipeline)))
val_dataloader = dict(
    batch_size=8, num_workers=0, persistent_workers=False,
    dataset=dict(index=index, scenes='mini_val', filters=filters, pipeline=test_pipeline))
test_dataloader = val_dataloader
