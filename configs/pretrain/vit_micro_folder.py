# Random masks on single images of your own, no labels: the recipe of vit_micro_town.py. Build
# the index first: tools/create_index.py frames --root data/drives
_base_ = [
    '../_base_/models/pretrain_vit_micro.py', '../_base_/datasets/nuscenes_clips.py',
    '../_base_/schedules/pretrain_single_cpu.py', '../_base_/runtime.py'
]

model = dict(
    decoder=dict(attention_scope='frame'),
    masking=dict(_delete_=True, type='RandomMask', mask_ratio=0.75))

train_dataloader = dict(
    batch_size=4, num_workers=0, persistent_workers=False, pin_memory=False,
    dataset=dict(
        index='data/drives/drivemim-frames.arrow', scenes=None, num_frames=1, frame_interval=None,
        single_camera=True, boxes=None, image_size=(224, 320), augment=dict(crop=(0.35, 1.0))))
