"""Models of configs, built without a run."""

import logging
import warnings

import pytest

from drivemim.config.building import disable_logs, suppress_logs


def test_warnings_are_silenced_and_errors_are_not(caplog):
    with suppress_logs(), warnings.catch_warnings(record=True) as caught:
        logging.getLogger("mmengine").warning("a layer")
        logging.getLogger("mmengine").error("a fault")
        warnings.warn("deprecated", stacklevel=1)
    assert [each.message for each in caplog.records] == ["a fault"]
    assert caught == []


@pytest.mark.parametrize("level", [logging.NOTSET, logging.INFO, logging.ERROR])
def test_what_the_caller_silenced_stays_silent(level):
    before = logging.root.manager.disable
    try:
        logging.disable(level)
        with suppress_logs():
            assert logging.root.manager.disable == max(level, logging.WARNING)
            with disable_logs(logging.INFO):
                assert logging.root.manager.disable == max(level, logging.WARNING)
            assert logging.root.manager.disable == max(level, logging.WARNING)
        assert logging.root.manager.disable == level
    finally:
        logging.disable(before)
