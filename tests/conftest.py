"""Fixtures shared by every test."""

import os
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="session")
def repository() -> Path:
    return REPOSITORY


@pytest.fixture(scope="session")
def real_data() -> Path:
    """Folder of real frames: tests that need it skip where it is absent."""
    folder = Path(os.environ.get("DRIVEMIM_REAL_DATA", REPOSITORY.parent / "shared" / "data"))
    if not folder.is_dir():
        pytest.skip(f"no real frames at {folder}")
    return folder
