"""DriveMIM: masked image modelling on multi-camera driving video."""

__version__ = "0.1.0"
