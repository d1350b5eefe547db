# Frames of IDD-lite (Indian streets) with boxes of people and vehicles. Build the index first:
# tools/create_index.py frames --root data/idd --coco data/idd/train.json --coco data/idd/val.json \
#     --out INDEX
_base_ = ['./coco_detection.py', './scale_jitter.py']

index = 'data/idd/drivemim-frames.arrow'
image_size = (224, 320)  # height, width
# In pixels of 320x227 images. Boxes drawn in images have no distance, visibility or lidar points.
filters = dict(min_width=5.0, min_height=13.0)

train_pipeline = _base_.train_pipeline
train_pipeline[0].image_size = image_size
train_pipeline.insert(2, _base_.pop('scale_jitter'))
test_pipeline = _base_.test_pipeline
test_pipeline[0].image_size = image_size

train_dataloader = dict(batch_size=4, dataset=dict(dataset=dict(
    index=index, filters=filters, pipeline=train_pipeline)))
val_dataloader = dict(dataset=dict(index=index, filters=filters, pipeline=test_pipeline))
test_dataloader = val_dataloader
