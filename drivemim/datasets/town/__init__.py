"""A generated town: synthetic driving in nuScenes' format, with known geometry."""

from drivemim.datasets.town.config import TownConfig
from drivemim.datasets.town.generate import generate_town

__all__ = ["TownConfig", "generate_town"]
