"""A small town that all tests of this folder share."""

from pathlib import Path

import pytest
from nuscenes.nuscenes import NuScenes

from drivemim.town import generate_town


@pytest.fixture(scope="session")
def town(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return generate_town(
        tmp_path_factory.mktemp("town") / "data",
        scenes=2,
        seconds=1.5,
        sweep_rate=4.0,
        image_size=(90, 160),
        workers=1,
        depth=True,
        instances=True,
    )


@pytest.fixture(scope="session")
def devkit(town: Path) -> NuScenes:
    return NuScenes("v1.0-mini", str(town), verbose=False)
