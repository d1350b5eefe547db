# The default recipe on the generated town, with the features of a frozen teacher as the target. The
# teacher has the size of the encoder. tools/studies/comparisons/features_town.py says how to make it.
_base_ = [
    '../../../../configs/_base_/models/pretrain_vit_micro.py', '../_base_/town_clips.py',
    '../../../../configs/_base_/schedules/pretrain_9000.py', '../../../../configs/_base_/runtime.py'
]

model = dict(
    target=dict(
        _delete_=True, type='FeatureTarget', checkpoint='work_dirs/recipes/teacher.safetensors',
        teacher=dict(type='ViT', arch='micro', patch_size=16, out_indices=(1, 3, 5))))

train_dataloader = dict(
    num_workers=0, persistent_workers=False,
    dataset=dict(cameras=None, num_frames=1, single_camera=True))
