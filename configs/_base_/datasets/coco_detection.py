# Frames with boxes from COCO files, here CamVid's train.json and val.json beside the images.
# Build the index first: tools/create_index.py frames --root data/camvid --out INDEX
_base_ = './town_detection.py'

index = 'data/camvid/drivemim-frames.arrow'
image_size = (240, 320)  # height, width
# In pixels of 480x360 images. Boxes drawn in images have no distance, visibility or lidar points.
filters = dict(min_width=4.0, min_height=6.0)

train_pipeline = _base_.train_pipeline
train_pipeline[0].image_size = image_size
test_pipeline = _base_.test_pipeline
test_pipeline[0].image_size = image_size

train_dataloader = dict(dataset=dict(dataset=dict(
    index=index, scenes='train', filters=filters, pipeline=train_pipeline)))
val_dataloader = dict(
    dataset=dict(index=index, scenes='val', filters=filters, pipeline=test_pipeline))
test_dataloader = val_dataloader
