# ResNet-50 on nuScenes with the recipe of vit_base_nuscenes.py.
_base_ = './resnet50_object_nuscenes.py'

model = dict(
    decoder=dict(attention_scope='frame'),
    masking=dict(_delete_=True, type='RandomMask', mask_ratio=0.6))

train_dataloader = dict(
    batch_size=72, dataset=dict(num_frames=1, single_camera=True))
