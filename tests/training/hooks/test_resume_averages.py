"""Resuming with and without averaged weights."""

import pytest
import torch

from drivemim.errors import CheckpointError
from drivemim.training.run import train

AVERAGED = {"custom_hooks": [dict(type="EMAHook", momentum=0.01)]}


def options(iterations, **others):
    return {"train_cfg.max_iters": iterations, "param_scheduler": None, **others}


@pytest.fixture(scope="module")
def toy(repository):
    return repository / "tests" / "toys" / "configs" / "toy.py"


def state(folder, iteration=8):
    return torch.load(folder / f"iter_{iteration}.pth", weights_only=False)


def log_of(folder):
    return "\n".join(path.read_text() for path in folder.glob("*/*.log"))


def test_a_run_without_averages_continues_from_the_trained_weights(toy, tmp_path):
    train(toy, work_dir=tmp_path / "whole", options=options(8, custom_hooks=[]))
    train(toy, work_dir=tmp_path / "without_averages", options=options(4, **AVERAGED))
    train(
        toy,
        work_dir=tmp_path / "without_averages",
        resume="newest",
        options=options(8, custom_hooks=[]),
    )
    expected, found = (state(tmp_path / run) for run in ("whole", "without_averages"))
    assert "ema_state_dict" not in found
    for name, value in expected["state_dict"].items():
        assert torch.equal(found["state_dict"][name], value), name
    assert "the run continues from the trained weights" in log_of(tmp_path / "without_averages")


def test_new_averages_start_from_the_trained_weights(toy, tmp_path):
    train(toy, work_dir=tmp_path / "new_averages", options=options(4, custom_hooks=[]))
    start = state(tmp_path / "new_averages", 4)["state_dict"]["head.weight"]
    train(toy, work_dir=tmp_path / "new_averages", resume="newest", options=options(5, **AVERAGED))
    assert "those of EMAHook start from its trained weights at iteration 4" in log_of(
        tmp_path / "new_averages"
    )
    found = state(tmp_path / "new_averages", 5)
    trained = found["ema_state_dict"]["module.head.weight"]
    assert not torch.equal(trained, start)
    # MMEngine's first update copies the weights, whatever the momentum is.
    assert torch.equal(found["state_dict"]["head.weight"], trained)


def test_a_checkpoint_that_lacks_a_trained_weight_is_refused(toy, tmp_path):
    train(toy, work_dir=tmp_path, options=options(4, **AVERAGED))
    content = state(tmp_path, 4)
    del content["ema_state_dict"]["module.head.bias"]
    torch.save(content, tmp_path / "iter_4.pth")
    with pytest.raises(CheckpointError, match=r"head\.bias"):
        train(toy, work_dir=tmp_path, resume="newest", options=options(8, custom_hooks=[]))
