# The small ViT on real frames with tube masks, which use no boxes (of CamVid or others).
_base_ = [
    '../_base_/models/pretrain_vit_micro.py', '../_base_/datasets/camvid_clips.py',
    '../_base_/schedules/pretrain_cpu.py', '../_base_/runtime.py'
]

model = dict(masking=dict(_delete_=True, type='TubeMask', mask_ratio=0.75))
