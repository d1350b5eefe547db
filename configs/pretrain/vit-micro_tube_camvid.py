# The small ViT on real frames; its masks read no boxes, of CamVid's train or of any others.
_base_ = [
    '../_base_/models/pretrain_vit_micro.py', '../_base_/datasets/camvid_clips.py',
    '../_base_/schedules/pretrain_cpu.py', '../_base_/runtime.py'
]

model = dict(masking=dict(_delete_=True, type='TubeMask', ratio=0.75))
