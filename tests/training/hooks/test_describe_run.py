"""The first iteration of a session is logged once."""

from types import SimpleNamespace

import pytest
from mmengine.hooks import LoggerHook

from drivemim.training.hooks.describe_run import LogFirstIteration
from drivemim.training.run import train


@pytest.mark.parametrize(
    ("batch", "length", "interval", "logged_by_mmengine"),
    [(0, 5, 10, False), (4, 5, 10, True), (19, 20, 10, True), (12, 13, 10, False), (0, 5, 1, True)],
)
def test_the_first_iteration_is_logged_once(
    batch, length, interval, logged_by_mmengine, monkeypatch
):
    lines = []
    mmengine_hook = LoggerHook(interval=interval)
    runner = SimpleNamespace(
        train_dataloader=range(length), iter=batch, experiment_name="x", hooks=[mmengine_hook],
        log_processor=SimpleNamespace(get_log_after_iter=lambda *_: ({}, "losses")),
        logger=SimpleNamespace(info=lines.append),
        visualizer=SimpleNamespace(add_scalars=lambda *_, **__: None),
    )  # fmt: skip
    monkeypatch.setattr(
        "drivemim.training.hooks.describe_run.print_log", lambda line, **_: lines.append(line)
    )
    mmengine_hook.json_log_path = ""
    mmengine_hook.after_train_iter(runner, batch)
    assert ("losses" in lines) == logged_by_mmengine
    ours = LogFirstIteration()
    ours.after_train_iter(runner, batch)
    assert lines.count("losses") == 1


@pytest.mark.parametrize(
    ("logger", "first"), [({"_delete_": True, "type": "LoggerHook"}, 1), (None, 0)]
)
def test_the_interval_is_that_of_the_logger_hook(logger, first, repository, tmp_path, capsys):
    """The interval is 10 if the config sets none. A run without the hook logs no iteration."""
    train(
        repository / "tests" / "toys" / "configs" / "detector.py",
        work_dir=tmp_path,
        options={
            "train_cfg": {"_delete_": True, "type": "EpochBasedTrainLoop", "max_epochs": 1},
            "train_dataloader.sampler.type": "DefaultSampler",
            "default_hooks.checkpoint.by_epoch": True,
            "model.backbone.init_cfg": None,
            "default_hooks.logger": logger,
            "log_processor.by_epoch": True,
        },
    )
    assert capsys.readouterr().out.count("Epoch(train) [1][1/") == first
