"""Options in messages: flags on the command line, arguments in Python."""

import ast
from pathlib import Path, PurePath

import numpy as np
import pytest
from numpy.typing import ArrayLike

import drivemim
from drivemim.errors import ConfigError
from drivemim.option_words import as_spoken, speaks_python

MESSAGES = [
    (
        "Set what belongs together: --cfg-options train_cfg.max_iters=20 param_scheduler.0.end=1",
        "Set what belongs together: options={'train_cfg.max_iters': 20, "
        "'param_scheduler.0.end': 1}",
    ),
    ("(--cfg-options load_from=None), or", "(options={'load_from': None}), or"),
    ("--cfg-options model.maskin.ratio: no key", "options['model.maskin.ratio']: no key"),
    ("--cfg-options of toy.py: no", "options of toy.py: no"),
    ("set a larger max_iters with --cfg-options, and", "set a larger max_iters with options, and"),
    (
        "go on from the newest with --resume, or name another --work-dir",
        "go on from the newest with resume=True, or name another work_dir",
    ),
    ("replace that run with --overwrite, or", "replace that run with overwrite=True, or"),
    ("name one with --resume CHECKPOINT, or", "name one with resume=CHECKPOINT, or"),
    ("--resume: there is no checkpoint at a/b.pth", "resume: there is no checkpoint at a/b.pth"),
    ("--resume a/iter_2.pth: run has", "resume=a/iter_2.pth: run has"),
    ("--seed 3, but x.pth; leave --seed out", "seed=3, but x.pth; leave seed out"),
    ("use --launcher pytorch", "use launcher='pytorch'"),
    ("or leave out with --missing-images drop", "or leave out with missing_images='drop'"),
    ("give --input-size H W", "give input_size=(H, W)"),
    ("train with EMAHook or leave --ema out", "train with EMAHook or leave ema out"),
    ("check --root and --version", "check root and version"),
    ("--metrics a=b.json must be", "metrics=a=b.json must be"),
    (
        "name it: --trust-checkpoint /a/b.pth (or DRIVEMIM_TRUST_CHECKPOINT=/a/b.pth)",
        "name it: the environment variable DRIVEMIM_TRUST_CHECKPOINT=/a/b.pth",
    ),
    # Commands to type stay commands in Python.
    (
        "run drivemim index nuscenes --root a --version v1.0-mini",
        "run drivemim index nuscenes --root a --version v1.0-mini",
    ),
    (
        "build it again (drivemim index ... --missing-images drop), or give --root",
        "build it again (drivemim index ... --missing-images drop), or give root",
    ),
    ("a--b and x -- y", "a--b and x -- y"),
]  # fmt: skip


@pytest.mark.parametrize(("flags", "arguments"), MESSAGES)
def test_flags_become_arguments(flags, arguments):
    @speaks_python
    def refuse():
        assert as_spoken(flags) == arguments
        raise ConfigError(flags)

    assert as_spoken(flags) == flags
    with pytest.raises(ConfigError) as error:
        refuse()
    assert str(error.value) == arguments
    assert as_spoken(flags) == flags


def test_types_are_checked_as_python_users_expect():
    @speaks_python
    def take(
        path: str | Path, size: tuple[int, int] | None = None, rate: float = 1.0, seed: int = 0
    ) -> None:
        """Take."""

    for given in (
        {"path": "a"}, {"path": Path("a"), "size": [1, 2]}, {"path": PurePath("a"), "rate": 1},
        {"path": "a", "rate": np.float32(1), "seed": np.int64(1)}, {"path": "a", "size": None},
    ):  # fmt: skip
        take(**given)
    for given, named in (
        ({"path": 1}, "take: path must be str or Path, not int"),
        ({"path": "a", "size": 3}, "take: size must be tuple or None, not int"),
        ({"path": "a", "seed": "1"}, "take: seed must be int, not str"),
        ({"path": "a", "sed": 1}, "take: got an unexpected keyword argument 'sed'"),
    ):
        with pytest.raises(TypeError, match=named):
            take(**given)


def test_the_options_of_a_message_can_be_pasted():
    @speaks_python
    def refuse():
        raise ConfigError(
            "Set --cfg-options a.b=1 c=x/y.pth d=(1,2) e=2011_09_26 f=[2011_09_26,1] g=(1_0,-1_0)"
        )

    with pytest.raises(ConfigError) as error:
        refuse()
    _, _, options = str(error.value).partition("options=")
    assert ast.literal_eval(options) == {
        "a.b": 1, "c": "x/y.pth", "d": (1, 2), "e": "2011_09_26",
        "f": ["2011_09_26", 1], "g": ("1_0", "-1_0"),
    }  # fmt: skip


@pytest.mark.parametrize(
    "name", [name for name in drivemim.__all__ if name.islower() and name[0] != "_"]
)
def test_errors_of_every_public_function_name_arguments(name):
    assert getattr(drivemim, name).__wrapped__.__module__.startswith("drivemim.")


def test_errors_of_the_public_functions(tmp_path):
    with pytest.raises(ConfigError) as error:
        drivemim.pretrain("vit_micro_town", options={"train_cfg.max_iters": 20})
    message = str(error.value)
    assert "--" not in message
    _, _, options = message.partition("Set what belongs together: options=")
    assert ast.literal_eval(options)["train_cfg.max_iters"] == 20
    with pytest.raises(ConfigError, match=r"^options\['param_scheduler.9.end'\]: "):
        drivemim.train("vit_micro_town", options={"param_scheduler.9.end": 1})
    with pytest.raises(FileNotFoundError, match="check root and version"):
        drivemim.build_index("nuscenes", tmp_path, version="v1.0-mini")


def test_methods_and_arrays_are_checked_too():
    class Counter:
        @speaks_python
        def count(self, values: ArrayLike, most: int, other: ArrayLike | None = None) -> int:
            """Count."""
            if most < 1:
                raise ConfigError("--most 0 is too few")
            return len(np.asarray(values))

    assert Counter().count([1, 2], 3) == Counter().count(np.zeros(2), most=np.int64(3)) == 2
    with pytest.raises(ConfigError, match="most=0 is too few"):
        Counter().count([], 0)
    with pytest.raises(TypeError, match="count: most must be int, not str"):
        Counter().count([], "3")
    with pytest.raises(TypeError, match=r"count: missing .* 'most'; see help\(drivemim\..*count\)"):
        Counter().count([])
