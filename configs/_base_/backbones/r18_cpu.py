# MMDetection's ResNet-18 and a thin FPN with the levels of the small ViT's pyramid (strides 8, 16,
# 32), so that a detector's head fits both. models/*_r18_cpu.py move both into their detectors with
# pop, so that neither remains a top-level key. _delete_ removes the ViT's settings. RetinaNet,
# RTMDet and DINO have their own necks.
backbone = dict(_delete_=True, type='ResNet', depth=18, norm_eval=False)
neck = dict(
    _delete_=True,
    type='FPN',
    in_channels=[64, 128, 256, 512],
    out_channels=64,
    start_level=1,
    num_outs=3)
