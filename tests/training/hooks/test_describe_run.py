"""The first iteration of a session is logged once."""

from types import SimpleNamespace

import pytest
from mmengine.config import Config
from mmengine.hooks import LoggerHook

from drivemim.training.hooks.describe_run import LogFirstIteration


@pytest.mark.parametrize(
    ("batch", "length", "interval", "logged_by_mmengine"),
    [(0, 5, 10, False), (4, 5, 10, True), (19, 20, 10, True), (12, 13, 10, False), (0, 5, 1, True)],
)
def test_the_first_iteration_is_logged_once(
    batch, length, interval, logged_by_mmengine, monkeypatch
):
    lines = []
    runner = SimpleNamespace(
        train_dataloader=range(length), iter=batch, experiment_name="x",
        cfg=Config({"default_hooks": {"logger": {"type": "LoggerHook", "interval": interval}}}),
        log_processor=SimpleNamespace(get_log_after_iter=lambda *_: ({}, "losses")),
        logger=SimpleNamespace(info=lines.append),
        visualizer=SimpleNamespace(add_scalars=lambda *_, **__: None),
    )  # fmt: skip
    monkeypatch.setattr(
        "drivemim.training.hooks.describe_run.print_log", lambda line, **_: lines.append(line)
    )
    mmengine_hook = LoggerHook(interval=interval)
    mmengine_hook.json_log_path = ""
    mmengine_hook.after_train_iter(runner, batch)
    assert ("losses" in lines) == logged_by_mmengine
    ours = LogFirstIteration()
    ours.after_train_iter(runner, batch)
    assert lines.count("losses") == 1
