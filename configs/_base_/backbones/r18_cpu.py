# MMDetection's ResNet-18 and a thin FPN with the levels of the small ViT's pyramid (strides 8, 16,
# 32), so that a detector's head fits either. models/*_r18_cpu.py put both into their detectors, by
# pop, so that they are no top-level keys of the finished config. _delete_: nothing of the ViT there
# remains. RetinaNet, RTMDet and DINO have necks of their own.
backbone = dict(_delete_=True, type='ResNet', depth=18, norm_eval=False)
neck = dict(
    _delete_=True,
    type='FPN',
    in_channels=[64, 128, 256, 512],
    out_channels=64,
    start_level=1,
    num_outs=3)
