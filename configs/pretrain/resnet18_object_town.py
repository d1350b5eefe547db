# MMDetection's ResNet-18 on the generated town, for two CPU cores.
_base_ = [
    '../_base_/models/pretrain_resnet.py', '../_base_/datasets/town_clips.py',
    '../_base_/schedules/pretrain_cpu.py', '../_base_/runtime.py'
]

model = dict(
    encoder=dict(backbone=dict(depth=18), cell_channels=192),
    decoder=dict(num_heads=6, neck=dict(in_channels=[128, 256, 512], out_channels=64)))
