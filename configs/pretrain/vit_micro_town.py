# The default recipe on the generated town, for one CPU core: random masks on single frames, a
# pyramid decoder, and a lower weight for flat patches. Results are in docs/results/results.md.
_base_ = [
    '../_base_/models/pretrain_vit_micro.py', '../_base_/datasets/town_clips.py',
    '../_base_/schedules/pretrain_single_cpu.py', '../_base_/runtime.py'
]

model = dict(
    decoder=dict(attention_scope='frame'),
    masking=dict(_delete_=True, type='RandomMask', mask_ratio=0.75))

train_dataloader = dict(
    batch_size=4, num_workers=0, persistent_workers=False,
    dataset=dict(cameras=None, num_frames=1, single_camera=True))
