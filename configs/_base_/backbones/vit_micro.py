# The ViT with 1.3 M parameters that configs/pretrain/vit_micro_* pretrain, and a pyramid of three
# levels (strides 8, 16, 32). models/*_vit_micro.py move both into their detectors with pop, so that
# neither remains a top-level key. _delete_ removes the ResNet's settings.
backbone = dict(_delete_=True, type='drivemim.ViT', arch='micro', patch_size=16)
neck = dict(
    _delete_=True,
    type='drivemim.SimpleFeaturePyramid',
    in_channels=128,
    out_channels=64,
    scales=(2.0, 1.0, 0.5))
