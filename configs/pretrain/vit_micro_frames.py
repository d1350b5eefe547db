# The recipe of vit_micro_town.py on single images of your own, no labels. Build the index first:
# tools/create_index.py frames --root data/drives
_base_ = [
    '../_base_/models/pretrain_vit.py', '../_base_/datasets/nuscenes_clips.py',
    '../_base_/schedules/pretrain.py', '../_base_/runtime.py'
]

model = dict(
    encoder=dict(arch='micro'),
    decoder=dict(num_heads=4, neck=dict(in_channels=128, out_channels=64)))

train_dataloader = dict(
    batch_size=4, num_workers=0, persistent_workers=False, pin_memory=False,
    dataset=dict(
        index='data/drives/drivemim-frames.arrow', scenes=None, num_frames=1, frame_interval=None,
        single_camera=True, boxes=None, image_size=(224, 320), augment=dict(crop=(0.35, 1.0))))

# 9,000 iterations of 4 frames take about 20 minutes on one idle CPU core with AVX-512.
train_cfg = dict(max_iters=9000)
optim_wrapper = dict(optimizer=dict(lr=1e-3))
param_scheduler = [
    dict(type='LinearLR', start_factor=1e-2, by_epoch=False, begin=0, end=500),
    dict(type='CosineAnnealingLR', eta_min_ratio=1e-2, by_epoch=False, begin=500, end=9000)
]
