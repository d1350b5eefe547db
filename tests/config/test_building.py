"""Models of configs, built without a run."""

import logging
import warnings

import pytest
from mmengine.logging import MMLogger

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


def test_mmengines_loggers_are_silenced_too_and_heard_again(tmp_path):
    """They remember that a level is enabled, and ``logging.disable`` does not tell them."""
    logger = MMLogger.get_instance("remembers", log_file=str(tmp_path / "log"))
    logger.info("before")
    with disable_logs(logging.INFO):
        logger.info("meanwhile")
        logger.warning("warned")
    logger.info("after")
    said = (tmp_path / "log").read_text()
    assert [word for word in ("before", "meanwhile", "warned", "after") if word in said] == [
        "before", "warned", "after",
    ]  # fmt: skip
