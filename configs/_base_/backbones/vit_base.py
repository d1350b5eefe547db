# ViT-B/16 with windows for large images, and a pyramid whose scales each detector names beside its
# strides. models/*_vit_base.py put both into their detectors, by pop, so that they are no top-level
# keys of the finished config. _delete_: nothing of the ResNet there remains.
backbone = dict(
    _delete_=True, type='drivemim.ViT', arch='base', patch_size=16, drop_path_rate=0.1,
    window_size=14, global_blocks=4)
neck = dict(
    _delete_=True, type='drivemim.SimpleFeaturePyramid', in_channels=768, out_channels=256)
