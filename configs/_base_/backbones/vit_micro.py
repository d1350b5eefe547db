# The ViT of 1.3 M parameters that configs/pretrain/vit-micro_* pretrain, and a pyramid of three
# levels (strides 8, 16, 32). models/*_vit_micro.py put both into their detectors, by pop, so that
# they are no top-level keys of the finished config. _delete_: nothing of the ResNet there remains.
backbone = dict(_delete_=True, type='drivemim.ViT', arch='micro', patch_size=16)
neck = dict(
    _delete_=True,
    type='drivemim.SimpleFeaturePyramid',
    in_channels=128,
    out_channels=64,
    scales=(2.0, 1.0, 0.5))
