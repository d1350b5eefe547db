"""Resuming with a config whose schedule or optimizer has changed."""

import json
import math
from types import SimpleNamespace

import pytest
import torch
from mmengine.optim import OptimWrapper, OptimWrapperDict
from mmengine.optim.scheduler.param_scheduler import ConstantParamScheduler, _ParamScheduler
from mmengine.registry import PARAM_SCHEDULERS

from drivemim.errors import CheckpointError, ConfigError
from drivemim.training.hooks import resume_schedule
from drivemim.training.optimizer_settings import base_settings, check_same_optimizer
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
    """Return the learning rate of each iteration in the logs of a run."""
    found = {}
    for path in sorted(folder.glob("*/vis_data/scalars.json")):
        for line in path.read_text().splitlines():
            row = json.loads(line)
            found[row["step"]] = row["lr"]
    return found


@pytest.fixture(scope="module")
def toy(repository):
    return repository / "tests" / "toys" / "configs" / "toy.py"


def test_a_run_resumed_with_a_longer_schedule_has_the_rates_of_that_schedule(toy, tmp_path):
    train(toy, work_dir=tmp_path / "long", options=options(12))
    train(toy, work_dir=tmp_path / "short", options=options(4))
    before = rates(tmp_path / "short")
    # Iteration 4 of 4 is in the middle of the cosine, which spans iterations 3 and 4.
    assert before[4] == pytest.approx(0.01 * (0.01 + 0.99 * 0.5))
    train(toy, work_dir=tmp_path / "short", resume="newest", options=options(12))
    expected, found = rates(tmp_path / "long"), rates(tmp_path / "short")
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


WARM_UP = dict(type="LinearLR", start_factor=0.1, by_epoch=False, begin=0, end=4)
SGD = dict(type="SGD", lr=0.01, momentum=0.9)


def steps(*milestones):
    return dict(type="MultiStepLR", milestones=list(milestones), gamma=0.1, by_epoch=False)


def cosine(begin, end):
    return dict(type="CosineAnnealingLR", eta_min_ratio=0.01, by_epoch=False, begin=begin, end=end)


def one_cycle(steps, highest=0.1):
    return dict(type="OneCycleLR", eta_max=highest, total_steps=steps, by_epoch=False)


def schedule(*schedulers, iterations, **others):
    return {"train_cfg.max_iters": iterations, "param_scheduler": list(schedulers), **others}


def resumed(toy, folder, old, new):
    """Return the rates of a run resumed with schedule ``new``, and of a whole run of ``new``."""
    # Without names, runs that begin in the same second would share a log.
    train(toy, work_dir=folder / "cut", options={**old, "experiment_name": "cut"})
    more = {**new, "experiment_name": "resumed"}
    train(toy, work_dir=folder / "cut", resume="newest", options=more)
    train(toy, work_dir=folder / "whole", options={**new, "experiment_name": "whole"})
    return rates(folder / "cut"), rates(folder / "whole")


@pytest.mark.parametrize(
    ("old", "new", "done", "by_hand"),
    [
        ([WARM_UP], [WARM_UP, steps(8, 10)], 4, {9: 1e-3, 11: 1e-4}),
        ([WARM_UP], [WARM_UP, cosine(4, 12)], 8, {9: 0.01 * (0.01 + 0.99 * 0.5)}),
        ([WARM_UP, steps(5, 7)], [WARM_UP], 8, {9: 1e-2, 12: 1e-2}),
        ([], [steps(10)], 4, {5: 1e-2, 11: 1e-3}),
        ([cosine(0, 8)], [], 8, {9: 1e-2}),
        ([WARM_UP, steps(6)], [steps(6), WARM_UP], 8, {9: 1e-3}),
        ([WARM_UP, steps(6)], [steps(6), dict(type="PolyLR", by_epoch=False)], 8, {}),
        ([one_cycle(8)], [one_cycle(12, 0.2)], 8, {}),
        ([WARM_UP], [one_cycle(12)], 8, {}),
        ([one_cycle(8)], [WARM_UP, steps(10)], 8, {9: 1e-2, 11: 1e-3}),
    ],
)
def test_the_rate_is_that_of_an_unbroken_run_whatever_the_checkpoint_had(
    toy, tmp_path, old, new, done, by_hand
):
    found, expected = resumed(
        toy, tmp_path, schedule(*old, iterations=done), schedule(*new, iterations=12)
    )
    for step in range(done + 1, 13):
        assert found[step] == expected[step], step
    for step, rate in by_hand.items():
        assert found[step] == pytest.approx(rate, rel=1e-9), step


def test_another_rate_than_the_checkpoints_is_logged(toy, tmp_path):
    train(toy, work_dir=tmp_path, options=schedule(WARM_UP, steps(5, 7), iterations=8))
    train(toy, work_dir=tmp_path, resume="newest", options=schedule(WARM_UP, iterations=9))
    (log,) = [path for path in tmp_path.glob("*/*.log") if "resumed" in path.read_text()]
    assert (
        "run would continue at a learning rate of 0.0001. The run follows the config's schedule: "
        "the learning rate at iteration 8 is 0.01"
    ) in log.read_text()


def test_the_rates_of_several_optimizers_are_compared_by_name(monkeypatch):
    lines = []
    monkeypatch.setattr(resume_schedule, "print_log", lambda line, **_: lines.append(line))

    def runner(rates):
        wrappers = {}
        for name, rate in rates.items():
            weight = torch.nn.Parameter(torch.zeros(2))
            wrappers[name] = OptimWrapper(torch.optim.SGD([weight], lr=0.1))
            wrappers[name].param_groups[0].update(lr=rate, initial_lr=0.1)
        return SimpleNamespace(
            cfg={},
            optim_wrapper=OptimWrapperDict(**wrappers), param_schedulers={}, _resume=True,
            iter=4, epoch=0, train_loop=None,
        )  # fmt: skip

    def warnings(before, now):
        lines.clear()
        hook = resume_schedule.ResumeSchedule()
        stored = {name: each.optimizer.state_dict()
                  for name, each in runner(before).optim_wrapper.items()}  # fmt: skip
        hook.after_load_checkpoint(runner(now), {"optimizer": stored})
        hook.before_train(runner(now))
        return [line.partition(". The run follows")[0] for line in lines]

    assert warnings({"a": 0.1, "b": 0.01}, {"a": 0.1, "b": 0.01}) == []
    assert warnings({"a": 0.1, "b": 0.01}, {"a": 0.1, "b": 0.02}) == [
        "b: the checkpoint's run would continue at a learning rate of 0.01"
    ]
    assert len(warnings({"a": 0.1, "b": 0.01}, {"a": 0.01, "b": 0.1})) == 2


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (SGD, {**SGD, "nesterov": True}, "nesterov gives True, .* was trained with False"),
        (
            dict(type="AdamW", lr=0.01),
            dict(type="AdamW", lr=0.01, amsgrad=True),
            "amsgrad gives True, .* was trained with False",
        ),
        (
            dict(type="AdamW", lr=0.01),
            dict(type="Adam", lr=0.01, weight_decay=0.01),
            r"optimizer\.type=Adam, but the checkpoint was trained with AdamW",
        ),
        (SGD, dict(type="AdamW", lr=0.01), "type=AdamW, but the checkpoint was trained with SGD"),
    ],
)
def test_another_optimizer_is_refused(toy, tmp_path, old, new, message):
    wrapper = dict(type="OptimWrapper")
    first, second = (
        {"optim_wrapper": dict(wrapper, optimizer=dict(each, _delete_=True))} for each in (old, new)
    )
    train(toy, work_dir=tmp_path, options=options(4, **first))
    with pytest.raises(ConfigError, match=message):
        train(toy, work_dir=tmp_path, resume="newest", options=options(8, **second))


def optimizer(kind, **settings):
    return getattr(torch.optim, kind)([torch.nn.Parameter(torch.zeros(2))], lr=0.01, **settings)


def test_optimizers_of_checkpoints_that_do_not_name_them():
    for ours, theirs in (("AdamW", "SGD"), ("SGD", "AdamW"), ("Adam", "RMSprop")):
        with pytest.raises(ConfigError, match=f"type={ours}, but .* with another optimizer"):
            check_same_optimizer(optimizer(ours), optimizer(theirs).state_dict(), None)
    older = optimizer("AdamW").state_dict()
    for name in ("decoupled_weight_decay", "fused", "maximize"):
        older["param_groups"][0].pop(name, None)
    check_same_optimizer(optimizer("AdamW"), older, None)
    # Another implementation (foreach) is allowed, and a list from a command line equals a tuple.
    check_same_optimizer(
        optimizer("AdamW", foreach=True, betas=[0.9, 0.999]), optimizer("AdamW").state_dict(), None
    )
    with pytest.raises(CheckpointError, match="without parameter groups"):
        check_same_optimizer(optimizer("SGD"), {"state": {}}, None)
    more = torch.optim.SGD([torch.nn.Parameter(torch.zeros(2)) for _ in range(3)], lr=0.01)
    with pytest.raises(ConfigError, match="trains 1 parameters in 1 groups, .* 3 in 1"):
        check_same_optimizer(optimizer("SGD"), more.state_dict(), None)


def test_base_settings_are_those_before_any_scheduler():
    group = {"params": [0], "lr": 1e-3, "initial_lr": 0.01, "betas": [0.7, 0.99], "momentum": 0.7,
             "initial_momentum": 0.9, "eps": torch.tensor(0.5)}  # fmt: skip
    assert base_settings(group) == {"lr": 0.01, "betas": (0.9, 0.99), "eps": 0.5}


@PARAM_SCHEDULERS.register_module()
class FollowsLoss(_ParamScheduler):
    """Lower the rate to a tenth after three iterations, as if a validation had been bad."""

    need_val_args = True

    def __init__(self, optimizer, **settings):
        super().__init__(optimizer, "lr", **settings)

    def _get_value(self):
        scale = 0.1 if self._global_step == 3 else 1.0
        return [group["lr"] * scale for group in self.optimizer.param_groups]


def test_a_schedule_that_follows_results_is_kept(toy, tmp_path):
    follows = dict(type="FollowsLoss", by_epoch=False)
    train(toy, work_dir=tmp_path, options=schedule(follows, iterations=4))
    train(toy, work_dir=tmp_path, resume="newest", options=schedule(follows, iterations=8))
    found = rates(tmp_path)
    assert [found[step] for step in (3, 4, 5, 8)] == pytest.approx([1e-2, 1e-3, 1e-3, 1e-3])
    with pytest.raises(ConfigError, match="one of them follows results"):
        train(
            toy,
            work_dir=tmp_path,
            resume="newest",
            options=schedule(follows, steps(10), iterations=12),
        )


@PARAM_SCHEDULERS.register_module()
class HoldsAFunction(ConstantParamScheduler):
    def __init__(self, optimizer, local=False, **settings):
        self.shape = (lambda: 1) if local else math.sqrt
        super().__init__(optimizer, "lr", **settings)


def test_schedulers_that_checkpoints_cannot_hold_are_refused_before_training(toy, tmp_path):
    holds = dict(type="HoldsAFunction", by_epoch=False)
    train(toy, work_dir=tmp_path, options=schedule(holds, iterations=4))
    (log,) = tmp_path.glob("*/*.log")
    assert "the state of HoldsAFunction holds more than plain values (math.sqrt)" in log.read_text()
    with pytest.raises(ConfigError, match="the state of HoldsAFunction cannot be saved"):
        train(
            toy,
            work_dir=tmp_path / "local",
            options=schedule(dict(holds, local=True), iterations=4),
        )
    assert not list((tmp_path / "local").glob("*.pth"))
