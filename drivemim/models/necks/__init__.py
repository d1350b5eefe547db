"""Necks between a plain backbone and MMDetection's heads."""

from drivemim.models.necks.simple_feature_pyramid import SimpleFeaturePyramid

__all__ = ["SimpleFeaturePyramid"]
