"""Fixtures shared by every test."""

import os
import signal
import sys
import threading
from collections import OrderedDict
from collections.abc import Iterator
from pathlib import Path

import pytest
from mmengine.registry import DefaultScope

REPOSITORY = Path(__file__).resolve().parents[1]
# This folder has the helpers that tests of several folders import: ``hostile``, ...
sys.path.insert(0, str(Path(__file__).parent))
# Configs of tests import the modules in toys/ by name, in this process and in subprocesses.
sys.path.insert(0, str(Path(__file__).parent / "toys"))
# The demo, studies and benchmarks are packages of the scripts in tools/; examples are scripts.
sys.path.insert(0, str(REPOSITORY / "tools"))
sys.path.insert(0, str(REPOSITORY / "examples"))

# A shell makes a background job ignore Ctrl-C. Processes that the tests start would inherit this.
if (
    threading.current_thread() is threading.main_thread()
    and signal.getsignal(signal.SIGINT) is signal.SIG_IGN
):
    signal.signal(signal.SIGINT, signal.default_int_handler)

# Files whose tests mostly train or start other processes.
SLOW_FILES = frozenset(
    {
        "test_cli.py", "test_configs.py", "test_round_trip_3d.py", "test_slice.py",
        "config/test_dumps.py", "studies/label_efficiency/test_initial_checkpoints.py",
        "tools/test_engine_tools.py", "tools/test_hostile_checkpoints.py", "tools/test_transfer.py",
        "tools/test_user_mistakes.py", "training/test_agreement.py", "training/test_probing.py",
        "training/test_resume.py", "training/test_stopping.py", "transfer/test_detector_config.py",
        "transfer/test_initial_weights.py", "transfer/test_pretraining_record.py",
    }
)  # fmt: skip


@pytest.fixture(scope="module", autouse=True)
def _default_scope() -> Iterator[None]:
    """Start every file without a default scope, whatever the one before it has set."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(DefaultScope, "_instance_dict", OrderedDict())
        yield


@pytest.fixture(scope="session")
def repository() -> Path:
    return REPOSITORY


@pytest.fixture(scope="session")
def real_data() -> Path:
    """Return the folder of real frames; a test that uses this is skipped where it is absent."""
    folder = Path(os.environ.get("DRIVEMIM_REAL_DATA", REPOSITORY.parent / "shared" / "data"))
    if not folder.is_dir():
        pytest.skip(f"no real frames at {folder}")
    return folder


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark the tests on real frames, and those of the files that are slow as a whole."""
    for item in items:
        if "real_data" in getattr(item, "fixturenames", ()):
            item.add_marker(pytest.mark.real)
        if str(item.path.relative_to(REPOSITORY / "tests")) in SLOW_FILES:
            item.add_marker(pytest.mark.slow)
