# Object masks: a ViT with 1.3 M parameters on the generated town, for two CPU cores.
_base_ = [
    '../_base_/models/pretrain_vit_micro.py', '../_base_/datasets/town_clips.py',
    '../_base_/schedules/pretrain_cpu.py', '../_base_/runtime.py'
]
