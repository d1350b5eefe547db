"""A generated town: synthetic driving in nuScenes' format, with known geometry."""

from drivemim.town.generate import generate_town
from drivemim.town.town_config import TownConfig

__all__ = ["TownConfig", "generate_town"]
