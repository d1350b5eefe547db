# Object masks: MMDetection's ResNet-18 on the generated town, for two CPU cores.
_base_ = [
    '../_base_/models/pretrain_resnet18.py', '../_base_/datasets/town_clips.py',
    '../_base_/schedules/pretrain_cpu.py', '../_base_/runtime.py'
]
