"""Complete runs, and checkpoints that no run can use."""

import multiprocessing
from pathlib import Path

import pytest
import torch

from drivemim import compat
from drivemim.errors import CheckpointError
from drivemim.training.run import evaluate, train

SHORT = {
    "train_cfg.max_iters": 4,
    "param_scheduler.0.end": 2,
    "param_scheduler.1.begin": 2,
    "param_scheduler.1.end": 4,
}
PLAIN = {"model.backbone.init_cfg": None}
EPOCHS = {
    **PLAIN,
    "train_cfg": {"_delete_": True, "type": "EpochBasedTrainLoop", "max_epochs": 1},
    "default_hooks.checkpoint.by_epoch": True,
    "default_hooks.checkpoint.interval": 1,
    "train_dataloader.sampler.type": "DefaultSampler",
}


@pytest.fixture(scope="module")
def toys(repository):
    return repository / "tests" / "toys" / "configs"


@pytest.fixture(scope="module")
def pretrained(toys, tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs") / "pretrain"
    train(toys / "toy.py", work_dir=folder, options=SHORT)
    return folder / "iter_4.pth"


@pytest.fixture(scope="module")
def detected(toys, tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs") / "detector"
    train(toys / "detector.py", work_dir=folder, options=PLAIN)
    return folder / "iter_2.pth"


def test_a_detectors_folder_is_evaluated_from_its_newest_checkpoint(toys, detected, tmp_path):
    arguments = {"work_dir": tmp_path / "test", "options": PLAIN}
    metrics = evaluate(toys / "detector.py", detected.parent, **arguments)
    assert metrics == evaluate(toys / "detector.py", detected, **arguments)
    (tmp_path / "empty").mkdir()
    with pytest.raises(FileNotFoundError, match="empty is a folder without a complete checkpoint"):
        evaluate(toys / "detector.py", tmp_path / "empty", **arguments)


def files(folder):
    return {path: path.stat().st_mtime_ns for path in folder.iterdir() if path.is_file()}


def test_a_pretraining_that_is_complete_says_so(toys, pretrained, capsys):
    before = files(pretrained.parent)
    for resume in ("newest", pretrained):
        train(toys / "toy.py", work_dir=pretrained.parent, resume=resume, options=SHORT)
        assert (
            capsys.readouterr()
            .out.rstrip()
            .endswith(
                f"The run is complete: {pretrained} is of iteration 4, and train_cfg.max_iters=4. "
                "Nothing was trained. To train longer, give a larger --iterations, which scales "
                "the schedules"
            )
        )
    shorter = {**SHORT, "train_cfg.max_iters": 3, "param_scheduler.1.end": 3}
    train(toys / "toy.py", work_dir=pretrained.parent, resume="newest", options=shorter)
    assert "is of iteration 4, and train_cfg.max_iters=3" in capsys.readouterr().out
    assert files(pretrained.parent) == before


def test_a_complete_run_of_another_model_is_refused_all_the_same(toys, pretrained):
    wider = {**SHORT, "model.encoder.channels": 6}
    with pytest.raises(CheckpointError, match="is of another model than the config's ToyPretrain"):
        train(toys / "toy.py", work_dir=pretrained.parent, resume="newest", options=wider)


def test_a_run_that_is_not_complete_goes_on(toys, pretrained, tmp_path):
    longer = {**SHORT, "train_cfg.max_iters": 5, "param_scheduler.1.end": 5}
    runner = train(toys / "toy.py", work_dir=tmp_path / "run", resume=pretrained, options=longer)
    assert runner.iter == 5


def test_a_detector_that_is_complete_says_so(toys, detected, tmp_path, capsys):
    before = files(detected.parent)
    train(toys / "detector.py", work_dir=detected.parent, resume="newest", options=PLAIN)
    said = capsys.readouterr().out
    assert "iter_2.pth is of iteration 2, and train_cfg.max_iters=2. Nothing" in said
    assert files(detected.parent) == before
    folder = tmp_path / "epochs"
    train(toys / "detector.py", work_dir=folder, options=EPOCHS)
    assert "complete" not in capsys.readouterr().out
    train(toys / "detector.py", work_dir=folder, resume="newest", options=EPOCHS)
    said = capsys.readouterr().out
    assert "epoch_1.pth is of epoch 1, and train_cfg.max_epochs=1. Nothing" in said


def test_no_run_is_resumed_from_weights_alone(toys, detected, tmp_path):
    state = torch.load(detected, weights_only=False)["state_dict"]
    for content in (state, {"state_dict": state}, {"state_dict": state, "meta": {"iter": 2}}):
        torch.save(content, tmp_path / "weights.pth")
        with pytest.raises(CheckpointError) as error:
            train(toys / "detector.py", work_dir=tmp_path / "run", resume=tmp_path / "weights.pth",
                  options=PLAIN)  # fmt: skip
        assert "weights.pth: no run can go on from it, since it does not say how" in str(
            error.value
        )
        assert "It is a detector's checkpoint" in str(error.value)
    assert not (tmp_path / "run").exists()


def _broken(checkpoint, path, key="state_dict", value=float("nan")):
    content = torch.load(checkpoint, weights_only=False)
    copies = {name: value.clone() for name, value in content["state_dict"].items()}
    content.setdefault(key, copies)
    name = next(name for name in content[key] if name.endswith("conv1.weight") or "stem" in name)
    content[key][name].flatten()[3] = value
    torch.save(content, path)
    return name


def test_weights_that_are_not_finite_are_refused_for_tests_and_initialisation(
    toys, detected, tmp_path
):
    path = tmp_path / "broken.pth"
    name = _broken(detected, path, value=float("inf"))
    match = rf"broken.pth holds numbers that are NaN or infinite in 1 \({name}\)"
    with pytest.raises(CheckpointError, match=match):
        evaluate(toys / "detector.py", path, work_dir=tmp_path / "test")
    with pytest.raises(CheckpointError, match=match):
        train(toys / "detector.py", work_dir=tmp_path / "start",
              options={**PLAIN, "load_from": str(path)})  # fmt: skip


@pytest.mark.parametrize("key", ["state_dict", "ema_state_dict"])
def test_resuming_from_weights_that_are_not_finite_is_refused(toys, pretrained, tmp_path, key):
    path = tmp_path / "broken.pth"
    name = _broken(pretrained, path, key)
    longer = {**SHORT, "train_cfg.max_iters": 5, "param_scheduler.1.end": 5}
    with pytest.raises(CheckpointError, match=rf"broken.pth holds numbers .* in 1 \({name}\)"):
        train(toys / "toy.py", work_dir=tmp_path / "run", resume=path, options=longer)


LONGER = {**SHORT, "train_cfg.max_iters": 5, "param_scheduler.1.end": 5}


def test_resuming_from_an_optimizer_that_is_not_finite_is_refused(
    toys, pretrained, tmp_path, capsys
):
    content = torch.load(pretrained, weights_only=False)
    states = content["optimizer"]["state"]
    first = next(iter(states))
    states[first]["exp_avg"].fill_(float("nan"))
    path = tmp_path / "broken.pth"
    torch.save(content, path)
    with pytest.raises(CheckpointError) as error:
        train(toys / "toy.py", work_dir=tmp_path / "run", resume=path, options=LONGER)
    assert f"{path} has an optimizer whose state is NaN or infinite in 1 " in str(error.value)
    assert f"(optimizer.state.{first}.exp_avg): its first step would destroy" in str(error.value)
    # Only the optimizer is damaged: a complete run needs none, and a new run can load the weights.
    train(toys / "toy.py", work_dir=tmp_path / "run", resume=path, options=SHORT)
    assert "The run is complete" in capsys.readouterr().out
    options = {**SHORT, "load_from": str(path)}
    assert train(toys / "toy.py", work_dir=tmp_path / "start", options=options).iter == 4


@pytest.mark.parametrize("change", ["unnamed", "missing", "unknown"])
def test_resuming_from_incomplete_averages_is_refused(toys, pretrained, tmp_path, change):
    """MMEngine's ``EMAHook`` would silently skip names without ``module.``."""
    content = torch.load(pretrained, weights_only=False)
    state = content["state_dict"]
    kept = {f"module.{name}": value + 1.0 for name, value in state.items()}
    first = next(iter(state))
    if change == "unknown":
        kept["module.gone"] = torch.zeros(1)
    else:
        value = kept.pop(f"module.{first}")
        kept.update({first: value} if change == "unnamed" else {})
    torch.save({**content, "ema_state_dict": kept}, tmp_path / "part.pth")
    with pytest.raises(CheckpointError) as error:
        train(toys / "toy.py", work_dir=tmp_path / "run", resume=tmp_path / "part.pth",
              options={**LONGER, "custom_hooks": [{"type": "EMAHook"}]})  # fmt: skip
    said = "has 1 (gone) that" if change == "unknown" else f"lacks 1 ({first}) of"
    assert f"module., {said} its state_dict" in str(error.value)


def test_resuming_from_averages_of_compiled_training(toys, pretrained, tmp_path):
    content = torch.load(pretrained, weights_only=False)
    for group in content["optimizer"]["param_groups"]:
        group.update(lr=0.0, initial_lr=0.0)
    state = content["state_dict"]
    content["state_dict"] = {f"_orig_mod.{name}": value for name, value in state.items()}
    content["ema_state_dict"] = {
        "steps": torch.tensor(4),
        **{f"module._orig_mod.{name}": value.clone() for name, value in state.items()},
    }
    name = next(name for name in state if name.endswith("weight"))
    content["ema_state_dict"][f"module._orig_mod.{name}"] += 1.0
    torch.save(content, tmp_path / "compiled.pth")
    options = {**LONGER, "optim_wrapper.optimizer.lr": 0.0,
               "custom_hooks": [{"type": "EMAHook", "momentum": 1e-9}]}  # fmt: skip
    train(toys / "toy.py", work_dir=tmp_path / "run", resume=tmp_path / "compiled.pth",
          options=options)  # fmt: skip
    found = torch.load(tmp_path / "run" / "iter_5.pth", weights_only=False)
    assert torch.allclose(found["state_dict"][name], state[name], atol=1e-5)
    assert torch.allclose(found["ema_state_dict"][f"module.{name}"], state[name] + 1, atol=1e-5)


@pytest.mark.parametrize("key", ["state_dict", "ema_state_dict"])
@pytest.mark.parametrize(("value", "named"), [
    (torch.ones(1, dtype=torch.int8), "int8"),
    (torch.ones(1, dtype=torch.complex64), "complex64"),
    (torch.ones(1).to(torch.float8_e4m3fn), "float8_e4m3fn"),
    ("sparse", "float32, sparse_coo"),
    ("text", "str"),
])  # fmt: skip
def test_resuming_from_weights_of_another_type_is_refused(
    toys, pretrained, tmp_path, key, value, named
):
    content = torch.load(pretrained, weights_only=False)
    state = content["state_dict"]
    name = next(name for name in state if name.endswith("weight"))
    if isinstance(value, torch.Tensor):
        value = value.expand(state[name].shape).clone()
    elif value == "sparse":
        value = state[name].to_sparse()
    if key == "ema_state_dict":
        content[key] = {f"module.{each}": tensor.clone() for each, tensor in state.items()}
        name = f"module.{name}"
    content[key][name] = value
    torch.save(content, tmp_path / "broken.pth")
    with pytest.raises(CheckpointError) as error:
        train(toys / "toy.py", work_dir=tmp_path / "run", resume=tmp_path / "broken.pth",
              options=LONGER)  # fmt: skip
    assert f"cannot fill a model in 1 ({name}: {named}); save" in str(error.value)


def test_resuming_with_empty_averages_starts_them_from_the_weights(toys, pretrained, tmp_path):
    content = torch.load(pretrained, weights_only=False)
    options = {**LONGER, "optim_wrapper.optimizer.lr": 0.0, "custom_hooks": [
        {"type": "EMAHook", "momentum": 1e-9}]}  # fmt: skip
    for group in content["optimizer"]["param_groups"]:
        group.update(lr=0.0, initial_lr=0.0)
    torch.save({**content, "ema_state_dict": {}}, tmp_path / "empty.pth")
    train(toys / "toy.py", work_dir=tmp_path / "averages", resume=tmp_path / "empty.pth",
          options=options)  # fmt: skip
    (log,) = (tmp_path / "averages").glob("*/*.log")
    assert "empty.pth has an empty ema_state_dict: it counts as one" in log.read_text()
    # The learning rate is 0 and the momentum tiny, so the averages are the resumed weights.
    averages = torch.load(tmp_path / "averages" / "iter_5.pth", weights_only=False)["state_dict"]
    for name, value in content["state_dict"].items():
        if value.is_floating_point() and "running" not in name:
            assert torch.allclose(averages[name], value, atol=1e-6), name
    torch.save({**content, "ema_state_dict": [1]}, tmp_path / "list.pth")
    with pytest.raises(CheckpointError, match=r"ema_state_dict that is a list, not weights by"):
        train(toys / "toy.py", work_dir=tmp_path / "other", resume=tmp_path / "list.pth",
              options=LONGER)  # fmt: skip


def test_epochs_with_checkpoints_by_iteration_are_complete_after_the_last(toys, tmp_path, capsys):
    """MMEngine saves the last iteration of an epoch before it counts the epoch."""
    loop = {"_delete_": True, "type": "EpochBasedTrainLoop", "max_epochs": 1}

    def run(resume=None):
        options = {**EPOCHS, "train_cfg": dict(loop), "default_hooks.checkpoint.by_epoch": False}
        return train(toys / "detector.py", work_dir=folder, resume=resume, options=options)

    folder = tmp_path / "run"
    total = run().iter
    meta = torch.load(folder / f"iter_{total}.pth", weights_only=False)["meta"]
    assert (meta["epoch"], meta["iter"]) == (0, total)
    assert "The run is complete" not in capsys.readouterr().out
    run("newest")
    said = capsys.readouterr().out
    assert f"iter_{total}.pth is of epoch 1, and train_cfg.max_epochs=1. Nothing was" in said


def test_a_pretraining_checkpoint_cannot_be_tested(toys, pretrained, tmp_path):
    with pytest.raises(CheckpointError) as error:
        evaluate(toys / "detector.py", pretrained, work_dir=tmp_path)
    assert str(error.value).startswith(
        f"{pretrained} is of another model than the config's RetinaNet"
    )
    assert (
        "It is a pretraining run's checkpoint; export its backbone with drivemim export, "
        "and give a detector that with backbone_checkpoint=FILE. Tensors: missing "
    ) in str(error.value)


def test_names_of_compiled_training_are_loaded(toys, detected, tmp_path):
    """MMEngine itself would only remove ``module.`` and then load none of the weights."""
    content = torch.load(detected, weights_only=False)
    state = {f"module._orig_mod.{name}": value for name, value in content["state_dict"].items()}
    torch.save({"state_dict": state, "meta": {}}, tmp_path / "wrapped.pth")
    options = {**PLAIN, "load_from": str(tmp_path / "wrapped.pth")}
    # The learning rate is 0: the weights stay as they were loaded.
    runner = train(toys / "detector.py", work_dir=tmp_path / "run", options=options)
    found = runner.model.state_dict()
    for name, value in content["state_dict"].items():
        if "running" not in name and "num_batches" not in name:
            assert torch.equal(found[name], value), name


def test_workers_end_with_their_run(tmp_path):
    """Otherwise, Python would wait 5 s for each worker when it deletes the runner."""
    before = set(multiprocessing.active_children())
    toy = Path(__file__).resolve().parents[1] / "toys" / "configs" / "toy_validated.py"
    runner = train(toy, work_dir=tmp_path / "run", iterations=4)
    assert runner.train_dataloader.num_workers == 2
    assert runner.train_dataloader.persistent_workers
    assert set(multiprocessing.active_children()) <= before
    assert len(next(iter(runner.train_dataloader))) > 0  # the loader can be used again
    compat.stop_workers(runner)
