# ViT-B/16 with window attention for large images, and a feature pyramid. Each detector sets the
# pyramid's scales beside its strides. models/*_vit_base.py move both into their detectors with pop,
# so that neither remains a top-level key. _delete_ removes the ResNet's settings.
backbone = dict(
    _delete_=True, type='drivemim.ViT', arch='base', patch_size=16, drop_path_rate=0.1,
    window_size=14, global_blocks=4)
neck = dict(
    _delete_=True, type='drivemim.SimpleFeaturePyramid', in_channels=768, out_channels=256)
