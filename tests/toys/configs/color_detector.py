default_scope = 'mmdet'
custom_imports = dict(
    imports=['color_detector', 'drivemim.data.detection.detection_dataset',
             'drivemim.data.detection.detection_transforms'])
model = dict(
    type='drivemim.ColorDetector',
    data_preprocessor=dict(type='DetDataPreprocessor', bgr_to_rgb=True, pad_size_divisor=64))
# Neither this index nor the annotations below exist.
test_dataloader = dict(
    batch_size=2, num_workers=0, sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(
        type='drivemim.FrameDetection', index='none.arrow', filters=dict(), test_mode=True,
        pipeline=[
            dict(type='drivemim.LoadReducedImage', image_size=(100, 100)),
            dict(type='PackDetInputs', meta_keys=(
                'img_id', 'img_path', 'ori_shape', 'img_shape', 'scale_factor', 'camera',
                'instances'))]))
test_evaluator = dict(type='drivemim.DetectionAP')
test_cfg = dict(type='TestLoop')
