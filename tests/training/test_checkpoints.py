import errno
import os

import pytest
import torch

from drivemim.compat import is_complete, read_checkpoint
from drivemim.errors import CheckpointError
from drivemim.training.hooks.atomic_checkpoint import AtomicBackend
from drivemim.training.run import train
from drivemim.transfer import run_checkpoints
from drivemim.transfer.run_checkpoints import newest_checkpoint


def no_space(*_):
    raise OSError(errno.ENOSPC, "No space left on device")


def save(path, value=0):
    torch.save({"state_dict": {"weight": torch.full((3,), float(value))}}, path)


def test_removals_are_delayed_and_spare_files_written_meanwhile(tmp_path):
    backend = AtomicBackend()
    for name in ("a", "b"):
        backend.put(b"1", tmp_path / name)
        backend.remove(str(tmp_path / name))
    backend.put(b"2", tmp_path / "b")
    assert (tmp_path / "a").exists()
    backend.carry_out_removals()
    assert os.listdir(tmp_path) == ["b"]
    backend.remove(str(tmp_path / "b"))
    backend.forget_removals()
    backend.carry_out_removals()
    assert (tmp_path / "b").read_bytes() == b"2"


def test_the_newest_checkpoint_is_the_complete_one_with_the_largest_iteration(tmp_path):
    assert newest_checkpoint(tmp_path) is None
    for iteration in (100, 8, 20):
        save(tmp_path / f"iter_{iteration}.pth")
    save(tmp_path / "best_mAP_iter_200.pth")
    (tmp_path / "last_checkpoint").write_text(str(tmp_path / "iter_8.pth"))
    assert newest_checkpoint(tmp_path) == tmp_path / "iter_100.pth"
    content = bytearray((tmp_path / "iter_100.pth").read_bytes())
    (tmp_path / "iter_100.pth").write_bytes(content[:-50])
    assert newest_checkpoint(tmp_path) == tmp_path / "iter_20.pth"
    (tmp_path / "iter_20.pth").write_bytes(b"")
    (tmp_path / "iter_8.pth").write_bytes(b"")
    assert newest_checkpoint(tmp_path) is None


def test_a_newer_checkpoint_that_is_incomplete_is_named_once(tmp_path, monkeypatch):
    lines = []
    monkeypatch.setattr(run_checkpoints, "print_log", lambda *line, **_: lines.append(line))
    for iteration in (8, 20, 100):
        save(tmp_path / f"iter_{iteration}.pth")
    newest_checkpoint(tmp_path)
    assert lines == []
    for iteration in (8, 20, 100):
        path = tmp_path / f"iter_{iteration}.pth"
        path.write_bytes(path.read_bytes()[: -50 if iteration > 8 else None])
    for _ in range(2):
        assert newest_checkpoint(tmp_path) == tmp_path / "iter_8.pth"
    ((line, *_),) = lines
    assert line == (
        f"{tmp_path}: iter_100.pth and iter_20.pth are incomplete or cannot be read, and are "
        "passed over"
    )
    save(tmp_path / "iter_200.pth")
    (tmp_path / "iter_200.pth").write_bytes(b"")
    newest_checkpoint(tmp_path)
    assert "iter_200.pth is incomplete or cannot be read, and is passed over" in lines[-1][0]
    assert len(lines) == 2


def test_a_run_folder_that_cannot_be_read_is_an_error(tmp_path, monkeypatch):
    """If it were taken for an empty folder, a resumed run would start from the beginning."""

    def refuse(path=None):
        raise PermissionError(errno.EACCES, "Permission denied", str(path))

    monkeypatch.setattr(os, "scandir", refuse)
    monkeypatch.setattr(os, "listdir", refuse)
    with pytest.raises(PermissionError, match=f"{tmp_path}"):
        newest_checkpoint(tmp_path)
    assert newest_checkpoint(tmp_path / "new") is None


def test_a_flipped_bit_is_noticed(tmp_path):
    path = tmp_path / "iter_1.pth"
    torch.save({"weight": torch.zeros(1000)}, path)
    assert is_complete(path)
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    assert not is_complete(path)


def test_a_damaged_checkpoint_is_named_without_advice_to_run_it(tmp_path):
    """The message of torch proposes ``weights_only=False``, which runs code in the file."""
    path = tmp_path / "iter_4.pth"
    save(path)
    content = path.read_bytes()
    place = content.index(b"state_dict")
    path.write_bytes(content[:place] + b"\xff" * 10 + content[place + 10 :])
    with pytest.raises(CheckpointError, match=rf"iter_4.pth \({len(content)} bytes\) is damaged"):
        read_checkpoint(path)
    path.write_bytes(b"\x80\x02" + bytes(range(100, 200)))
    with pytest.raises(CheckpointError, match=r"iter_4.pth \(102 bytes\) is damaged") as error:
        read_checkpoint(path)
    assert "weights_only" not in str(error.value)


@pytest.mark.parametrize("keep", [1, 2])
def test_full_disk_keeps_the_previous_checkpoint(repository, tmp_path, monkeypatch, keep):
    config = repository / "tests" / "toys" / "configs" / "toy.py"
    run = tmp_path / f"full{keep}"
    real_write, calls = os.fsync, []

    def fills_up(file):
        calls.append(file)
        if len(calls) == keep + 2:  # the first call writes the run's config
            no_space()
        real_write(file)

    monkeypatch.setattr(os, "fsync", fills_up)
    with pytest.raises(CheckpointError) as error:
        train(config, work_dir=run,
              options={"default_hooks.checkpoint.max_keep_ckpts": keep})  # fmt: skip
    wanted, previous = run / f"iter_{4 * keep + 4}.pth", run / f"iter_{4 * keep}.pth"
    assert str(error.value) == (
        f"{wanted} could not be written: No space left on device. The previous checkpoint "
        f"{previous} is intact; free some space and go on with --resume"
    )
    kept = {f"iter_{4 * number}.pth" for number in range(1, keep + 1)}
    assert {path.name for path in run.iterdir() if ".pth" in path.name} == kept
    assert read_checkpoint(previous)["meta"]["iter"] == 4 * keep


def test_only_the_last_checkpoints_are_kept(repository, tmp_path):
    config = repository / "tests" / "toys" / "configs" / "toy.py"
    train(config, work_dir=tmp_path / "kept",
          options={"default_hooks.checkpoint.max_keep_ckpts": 2})  # fmt: skip
    assert sorted(path.name for path in (tmp_path / "kept").glob("*.pth")) == [
        "iter_12.pth",
        "iter_8.pth",
    ]
    meta = read_checkpoint(tmp_path / "kept" / "iter_12.pth")["meta"]
    assert (meta["iter"], meta["seed"]) == (12, 0)


def test_checkpoint_of_another_architecture_is_refused_on_resume(repository, tmp_path):
    config = repository / "tests" / "toys" / "configs" / "toy.py"
    short = {
        "train_cfg.max_iters": 4,
        "param_scheduler.0.end": 2,
        "param_scheduler.1.begin": 2,
        "param_scheduler.1.end": 4,
    }
    train(config, work_dir=tmp_path / "narrow", options=short)
    with pytest.raises(CheckpointError) as error:
        train(config, work_dir=tmp_path / "wide", resume=tmp_path / "narrow" / "iter_4.pth",
              options={"model.encoder.channels": 6})  # fmt: skip
    assert "is of another model than the config's ToyPretrainer. It is " in str(error.value)
    assert "encoder.stem.weight (4, 3, 4, 4) for (6, 3, 4, 4)" in str(error.value)
