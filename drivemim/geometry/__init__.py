"""Cameras, poses, rays and boxes: arrays in, arrays out."""
