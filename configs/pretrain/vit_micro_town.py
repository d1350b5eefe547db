# The default recipe on the generated town, for one CPU core: a ViT with 1.3 M parameters, random
# masks on single frames, a pyramid decoder, and a lower weight for flat patches. Results are in
# docs/results/results.md.
_base_ = [
    '../_base_/models/pretrain_vit_micro.py', '../_base_/datasets/nuscenes_clips.py',
    '../_base_/schedules/pretrain_9000.py', '../_base_/runtime.py'
]

train_dataloader = dict(
    batch_size=4, num_workers=0, persistent_workers=False, pin_memory=False,
    dataset=dict(
        index='work_dirs/demo/town.arrow', scenes='mini_train', num_frames=1, frame_interval=0.5,
        single_camera=True, image_size=(192, 320)))
