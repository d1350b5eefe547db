"""Clips for pretraining: which frames, with which augmentation, in which order."""
