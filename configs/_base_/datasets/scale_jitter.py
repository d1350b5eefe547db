# Random scale and translation. Without it, a detector that sees the same few frames again and
# again memorises where their objects are. Configs move it into their pipeline with pop.
scale_jitter = dict(
    type='RandomAffine', max_rotate_degree=0.0, max_shear_degree=0.0,
    max_translate_ratio=0.2, scaling_ratio_range=(0.8, 1.8))
