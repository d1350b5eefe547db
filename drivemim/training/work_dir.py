"""A run's folder before the run begins: an earlier run in it, and what a refusal leaves."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout
from mmengine.config import Config
from mmengine.dist import is_main_process
from mmengine.hooks import Hook
from mmengine.logging import print_log

from drivemim.checkpoint_kinds import describe_missing, kind_of
from drivemim.compat import forget_instance, read_checkpoint, run_instances
from drivemim.config.nested import walk
from drivemim.errors import CheckpointError, ConfigError
from drivemim.process_ends import process_rank
from drivemim.transfer.run_checkpoints import newest_checkpoint

NEWEST = "newest"
"""Value of ``resume`` that means the newest complete checkpoint in the run's folder."""
_LOCK = ".lock"
"""File in a run's folder that the run locks."""
_LOGS = re.compile(r"\d{8}_\d{6}")
"""Name of a folder of logs: the time when its run began."""
_CHECKPOINT = re.compile(r"(iter|epoch)_(\d+)\.pth|best_.+\.pth|last_checkpoint")
"""Names that show an earlier run: checkpoints, and MMEngine's file with the last one's path."""
# Names that MMEngine's hook writes: regular checkpoints, the best so far, and published ones with a
# part of their checksum. A user's own ``best_model.pth`` has no such name.
_WRITTEN = re.compile(
    r"(best_.+_)?(iter|epoch)_\d+\.pth|(best_.+_)?(iter|epoch)_\d+-[0-9a-f]{8}\.pth|last_checkpoint"
)


class MarkBegin(Hook):
    """Note that a run has begun, so that it can no longer be refused, and that it has iterated.

    Attributes:
        is_begun: whether training has data for its first iteration, or a validation or test begins.
        has_iterated: whether an iteration of training, validation or test has ended without error.
    """

    priority = "LOWEST"

    def __init__(self) -> None:
        self.is_begun = False
        self.has_iterated = False

    def before_train_iter(self, runner: Any, batch_idx: int, data_batch: Any = None) -> None:
        """Note that training begins, with data that could be loaded."""
        self.is_begun = True

    def _after_iter(self, runner: Any, *args: Any, **kwargs: Any) -> None:
        """Note that an iteration of any kind ended without an error."""
        self.has_iterated = True

    def before_val(self, runner: Any) -> None:
        """Note that a validation begins, which may be all that is left to do."""
        self.is_begun = True

    def before_test(self, runner: Any) -> None:
        """Note that a test begins."""
        self.is_begun = True


@contextmanager
def nothing_left_unless_begun(work_dir: str | Path) -> Iterator[MarkBegin]:
    """Remove the logs of a run that is refused before it begins, and the folders made for them.

    MMEngine's Runner makes logs and folders when it is built. The run may be refused afterwards,
    for example because of a wrong checkpoint or data set.

    Args:
        work_dir: folder of the run.

    Yields:
        A hook, which the run has to register.
    """
    folder = Path(work_dir).absolute()
    new = [each for each in (folder, *folder.parents) if not each.exists()]
    before = set(folder.iterdir()) if folder.is_dir() else set()
    instances = run_instances()
    mark = MarkBegin()
    try:
        yield mark
    finally:
        if not mark.is_begun and folder.is_dir() and is_main_process():
            for (kind, name), instance in run_instances().items():
                # An instance from before stays: a run that began in the same second gave it the
                # name.
                if instances.get((kind, name)) is not instance:
                    forget_instance(kind, name)
            for path in set(folder.iterdir()) - before:
                if _LOGS.fullmatch(path.name) and path.is_dir():
                    shutil.rmtree(path, ignore_errors=True)
            with suppress(OSError):  # something else was written there meanwhile
                for each in new:
                    each.rmdir()


@contextmanager
def only_run_in(work_dir: str | Path, launcher: str = "none") -> Iterator[None]:
    """Lock a folder during a run, so that no second run writes into it.

    The operating system unlocks the folder when the process ends, even if it is killed. On file
    systems that cannot lock files, the folder is not locked.

    Args:
        work_dir: folder of the run.
        launcher: what started the processes; rank 0 holds the lock.

    Raises:
        ConfigError: if another run is going on in the folder, or a folder has the name of the file
            to lock.
    """
    if process_rank(launcher) > 0:
        yield
        return
    folder = Path(work_dir)
    folder.mkdir(parents=True, exist_ok=True)
    if (folder / _LOCK).is_dir():
        raise ConfigError(
            f"{folder / _LOCK} is a folder, but a run locks a file of that name; remove it, or "
            "name another --work-dir"
        )
    lock = FileLock(folder / _LOCK)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        raise ConfigError(
            f"another run is going on in {folder}; name another --work-dir, or wait until it ends"
        ) from None
    except (NotImplementedError, OSError):
        yield
        return
    try:
        yield
    finally:
        (folder / _LOCK).unlink(missing_ok=True)
        lock.release()


def refuse_second_run(work_dir: str | Path, launcher: str = "none") -> None:
    """Refuse a folder in which another run is going on, before any other check of the folder.

    Args:
        work_dir: folder of the run; nothing is written there.
        launcher: what started the processes; only rank 0 checks.

    Raises:
        ConfigError: if another run is going on in the folder, or it cannot be locked.
    """
    if (Path(work_dir) / _LOCK).exists():
        with only_run_in(work_dir, launcher):
            pass


class RemoveEarlierRun(Hook):
    """Remove the checkpoints of an earlier run from a folder, once the new run has trained.

    A run that fails in its first iteration leaves the earlier one as it was. Every other file
    stays: logs, which have a folder for each run, exports, and what users keep there. The earlier
    run's config is overwritten if it has the same name.

    Args:
        folder: folder of the checkpoints.
        hook: config of the run's checkpoint hook.
    """

    priority = "VERY_HIGH"  # before the first checkpoint is written

    def __init__(self, folder: Path, hook: Mapping[str, Any] | None = None) -> None:
        own = _own_names((hook or {}).get("filename_tmpl"))
        paths = folder.iterdir() if folder.is_dir() else ()
        self.paths = [
            path for path in paths
            if path.is_file() and (_WRITTEN.fullmatch(path.name) or own.fullmatch(path.name))
        ]  # fmt: skip

    def after_train_iter(self, runner: Any, *args: Any, **kwargs: Any) -> None:
        """Remove the files once."""
        while self.paths:
            path = self.paths.pop()
            if is_main_process():
                path.unlink(missing_ok=True)


def check_kept(cfg: Config, removed: Iterable[Path]) -> None:
    """Refuse to remove a file that a run reads: initial weights, a teacher's weights, or an index.

    Args:
        cfg: config of the run.
        removed: files that ``--overwrite`` removes.

    Raises:
        ConfigError: naming the file and its key.
    """
    real = {os.path.realpath(path) for path in removed}
    for part, settings in cfg.items() if real else ():
        for key, value in walk(settings, part):
            is_file = isinstance(value, (str, Path)) and os.path.isfile(value)
            if is_file and os.path.realpath(value) in real:
                raise ConfigError(
                    f"--overwrite would remove {value}, which the run reads ({key}): copy it to "
                    "another folder, or name another --work-dir"
                )


def checkpoint_folder(cfg: Config) -> Path:
    """Return the folder where a run's checkpoint hook writes: the run's own by default."""
    out_dir = ((cfg.get("default_hooks") or {}).get("checkpoint") or {}).get("out_dir")
    work_dir = Path(cfg.work_dir)
    if not out_dir or str(out_dir) == str(work_dir.absolute()):
        return work_dir
    return Path(out_dir) / work_dir.absolute().name


def choose_checkpoint(
    resume: str | Path | None,
    folder: Path,
    hook: Mapping[str, Any] | None = None,
    *,
    config: Path | None = None,
    overwrite: bool = False,
) -> Path | None:
    """Choose the checkpoint to resume from; refuse a folder with another run.

    Args:
        resume: a checkpoint, ``NEWEST`` for the newest complete one in ``folder``, or None to
            start from the beginning.
        folder: folder of the run's checkpoints; nothing is written there.
        hook: config of the run's checkpoint hook.
        config: config of an earlier run that this one would overwrite, None if there is none.
        overwrite: start from the beginning in place of an earlier run.

    Returns:
        The checkpoint; None to start from the beginning.

    Raises:
        CheckpointError: if the checkpoint does not exist, or none in the folder is complete.
        ConfigError: if the run would write its checkpoints among those of another run, or if
            ``resume`` and ``overwrite`` are both given.
    """
    if overwrite and resume is not None:
        raise ConfigError("--resume and --overwrite contradict each other: give one")
    existing = _checkpoints(folder, (hook or {}).get("filename_tmpl"))
    more = f" and {len(existing) - 3} more" if len(existing) > 3 else ""
    names = f"{', '.join(existing[:3])}{more}"
    if resume is None:
        if not overwrite:
            _check_empty(folder, names, config)
        return None
    if str(resume) == NEWEST:
        newest = newest_checkpoint(folder)
        if newest is None and existing:
            raise CheckpointError(
                f"--resume: none of the checkpoints in {folder} ({names}) is a complete "
                "iter_N.pth or epoch_N.pth; name one with --resume CHECKPOINT, start from the "
                "beginning with --overwrite, or name another --work-dir"
            )
        if newest is None and process_rank() == 0:
            print_log(f"no complete checkpoint in {folder} yet, starting from the beginning")
        return newest
    path = Path(resume)
    if not path.is_file():
        raise CheckpointError(f"--resume: {describe_missing('checkpoint', path)}")
    _check_others(path, folder, existing)
    return path


def read_progress(checkpoint: Path) -> dict[str, Any]:
    """Read how far the run of a checkpoint had got.

    Returns:
        The checkpoint's ``meta``, with ``iter`` and ``epoch``. Its ``epoch_length`` is the number
        of iterations per epoch of the run that wrote it, or None if unknown.

    Raises:
        CheckpointError: if the checkpoint cannot be read, or no run can resume from it.
    """
    content = read_checkpoint(checkpoint)
    meta = content.get("meta") if isinstance(content, dict) else None
    is_whole = isinstance(meta, dict) and all(
        isinstance(meta.get(key), int) for key in ("iter", "epoch")
    )
    if not is_whole:
        raise CheckpointError(
            f"--resume {checkpoint}: no run can go on from it, since it does not say how many "
            f"iterations it has seen. It is {kind_of(content)}"
        )
    return {**(meta or {}), "epoch_length": _epoch_length(content)}


def _epoch_length(content: Mapping[str, Any]) -> int | None:
    """Return the iterations per epoch, from MMEngine's record of both lengths; None if unknown."""
    hub = content.get("message_hub")
    info = hub.get("runtime_info") if isinstance(hub, Mapping) else None
    counts = [info.get(f"max_{unit}") for unit in ("iters", "epochs")] if info else []
    if not all(isinstance(each, int) and each > 0 for each in counts) or not counts:
        return None
    iterations, epochs = counts
    return iterations // epochs if iterations % epochs == 0 else None


def _checkpoints(folder: Path, template: str | None) -> list[str]:
    """Return the names of checkpoints in a folder, the latest first."""
    names = [path.name for path in folder.iterdir()] if folder.is_dir() else []
    checkpoints = [name for name in names if _CHECKPOINT.fullmatch(name)]
    own = _own_names(template)
    checkpoints += [name for name in names if own.fullmatch(name) and name not in checkpoints]
    return sorted(checkpoints, key=lambda name: (-_number(name), name))


def _own_names(template: str | None) -> re.Pattern[str]:
    """Return the pattern of the names that a hook's ``filename_tmpl`` gives; none without it."""
    return re.compile(re.escape(template or "").replace(re.escape("{}"), r"\d+"))


def _number(name: str) -> int:
    """Return the iteration or epoch in the name of a checkpoint; -1 for other names."""
    match = _CHECKPOINT.fullmatch(name)
    return int(match[2]) if match and match[2] else -1


def _check_empty(folder: Path, names: str, config: Path | None) -> None:
    """Refuse a folder that has checkpoints, or at least a config, of an earlier run."""
    if names:
        raise ConfigError(
            f"{folder} has checkpoints of an earlier run ({names}); go on from the newest with "
            "--resume, replace that run with --overwrite, or name another --work-dir"
        )
    if config is not None:
        raise ConfigError(
            f"{folder} has the config of an earlier run ({config.name}), but no checkpoint; start "
            "from the beginning with --resume or --overwrite, or name another --work-dir"
        )


def _check_others(path: Path, work_dir: Path, existing: list[str]) -> None:
    """Refuse to resume if later checkpoints, or those of another run, would stay in the folder."""
    inside = path.resolve().parent == work_dir.resolve()
    if not inside and existing:
        raise ConfigError(
            f"--resume {path}: {work_dir} has checkpoints of another run ({existing[0]}), and new "
            "ones would lie among them; name another --work-dir"
        )
    kind = path.name.partition("_")[0]
    number = _number(path.name)
    later = [name for name in existing if name.startswith(kind) and _number(name) > number]
    if inside and number >= 0 and later:
        raise ConfigError(
            f"--resume {path}: {work_dir} has later checkpoints ({later[0]}), which would stay "
            "among the new ones; go on from the newest with --resume alone, or name another "
            "--work-dir"
        )
