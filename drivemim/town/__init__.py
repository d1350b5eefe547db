"""A generated town: synthetic driving in nuScenes' format, with known geometry."""

from drivemim.town.config import TownConfig
from drivemim.town.generate import generate_town

__all__ = ["TownConfig", "generate_town"]
