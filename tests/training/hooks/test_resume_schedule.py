"""Resuming with a config whose schedule or optimizer has changed."""

import json

import pytest

from drivemim.errors import ConfigError
from drivemim.training.run import train


def options(iterations, **others):
    return {
        "train_cfg.max_iters": iterations,
        "param_scheduler.0.end": 2,
        "param_scheduler.1.begin": 2,
        "param_scheduler.1.end": iterations,
        **others,
    }


def rates(folder):
    """Learning rate of each iteration in the logs of a run."""
    found = {}
    for path in sorted(folder.glob("*/vis_data/scalars.json")):
        for line in path.read_text().splitlines():
            row = json.loads(line)
            found[row["step"]] = row["lr"]
    return found


@pytest.fixture(scope="module")
def toy(repository):
    return repository / "tests" / "toys" / "configs" / "toy.py"


def test_a_longer_schedule_is_followed_from_where_a_run_of_it_would_be(toy, tmp_path):
    train(toy, work_dir=tmp_path / "long", options=options(12))
    train(toy, work_dir=tmp_path / "short", options=options(4))
    before = rates(tmp_path / "short")
    assert before[4] == pytest.approx(0.01 * (0.01 + 0.99 * 0.5))  # half of the cosine, one to go
    train(toy, work_dir=tmp_path / "short", resume="newest", options=options(12))
    expected, found = rates(tmp_path / "long"), rates(tmp_path / "short")
    assert list(found) == list(range(1, 13))
    for step in range(5, 13):
        assert found[step] == pytest.approx(expected[step], rel=1e-9), step


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"optim_wrapper.optimizer.lr": 0.5}, r"optimizer\.lr gives 0\.5, .* with 0\.01, which"),
        (
            {"optim_wrapper.optimizer.weight_decay": 0.2},
            r"weight_decay gives 0\.2, but the checkpoint was trained with 0\.01",
        ),
        ({"optim_wrapper.optimizer.betas": (0.8, 0.9)}, r"betas gives \(0\.8, 0\.9\), but"),
    ],
)
def test_optimizer_settings_that_a_resumed_run_would_ignore_are_refused(
    toy, tmp_path, change, message
):
    train(toy, work_dir=tmp_path, options=options(4))
    config = (tmp_path / "toy.py").read_bytes()
    with pytest.raises(ConfigError, match=message):
        train(toy, work_dir=tmp_path, resume="newest", options=options(8, **change))
    assert (tmp_path / "toy.py").read_bytes() == config
    assert not (tmp_path / "iter_8.pth").exists()
