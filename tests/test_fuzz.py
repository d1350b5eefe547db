"""Wrong values of any config key end a run in one line, or do no harm; there is no traceback."""

import math
import random
import re

import pytest
from mmengine.hooks import Hook
from seen_data import index_of, write_frames

from drivemim.config.loading import load_config
from drivemim.config.nested import walk
from drivemim.process_ends import one_line_errors
from drivemim.training.run import train

VALUES = (None, "x", -1, 0, 1.5, [], {}, 7, True, (1, 2, 3), "0", [[]], math.nan)
SAMPLES = 6
SECTIONS = [
    ("model", None, "a dict"),
    ("model.encoder", None, "a dict"),
    ("model.target", None, "a dict"),
    ("model.auxiliary", None, "a list of dicts"),
    ("env_cfg", None, "a dict"),
    ("randomness", None, "a dict"),
    ("train_dataloader.dataset", None, "a dict"),
    ("val_dataloader", 3, "a dict, or None"),
    ("test_dataloader", 3, "a dict, or None"),
    ("val_cfg", 3, "a dict, or None"),
    ("val_evaluator", [3], "a dict or a list of dicts, or None"),
    ("custom_hooks", 3, "a list of dicts, or None"),
    ("custom_hooks", [3], "a list of dicts, or None"),
    ("default_hooks.visualization", 3, "a dict, or None"),
]
OTHERS = [
    ("train_dataloader", None, "vit_micro_frames has no train_dataloader: it cannot be trained"),
    ("log_level", "FOO", "log_level='FOO' must be one of DEBUG, INFO, WARNING, ERROR, CRITICAL"),
    ("log_level", "info", "log_level='info' must be one of .*; did you mean 'INFO'?"),
    ("optim_wrapper.optimizer.type", "AdamWW",
     "there is no optimizer of type 'AdamWW'; did you mean 'AdamW'?"),
    ("default_scope", "foo",
     "there is no model of type 'MaskedPretrainer'; did you mean 'drivemim.MaskedPretrainer'?"),
    ("model.encoder.type", "Linear", "there is no model of type 'Linear'"),
]  # fmt: skip


class Stop(Hook):
    """End the run after an iteration."""

    priority = "LOWEST"

    def after_train_iter(self, runner, *args, **kwargs):
        runner.train_loop.stop_training = True


@pytest.fixture(scope="module")
def index(tmp_path_factory):
    folder = tmp_path_factory.mktemp("fuzz")
    write_frames(folder / "d", {"train": {"a": 4}, "val": {"b": 2}})
    return str(index_of(folder / "d", folder / "i.arrow", "train", "val"))


def settings(name, index):
    """Return options with which a config trains quickly, on small images of ``index``."""
    data = "train_dataloader.dataset"
    if name.startswith("atss"):
        sizes = {f"{part}.pipeline.0.image_size": (64, 96)
                 for part in (f"{data}.dataset", "val_dataloader.dataset",
                              "test_dataloader.dataset")}  # fmt: skip
        return {
            **sizes, "model.backbone.init_cfg": None, f"{data}.dataset.index": index,
            f"{data}.dataset.scenes": "train", "val_dataloader.dataset.index": index,
            "val_dataloader.dataset.scenes": "val", "test_dataloader.dataset.index": index,
            "test_dataloader.dataset.scenes": "val", "train_cfg.val_begin": 601,
        }  # fmt: skip
    return {f"{data}.index": index, f"{data}.image_size": (64, 96), f"{data}.scenes": "train"}


@pytest.mark.parametrize("seed", range(SAMPLES))
@pytest.mark.parametrize("name", ["vit_micro_frames", "atss_vit_micro_town"])
def test_a_wrong_value_is_one_line(name, seed, index, tmp_path):
    given = settings(name, index)
    places = walk(load_config(name, given).to_dict(), "")
    keys = [key.removeprefix(".") for key, _ in places if key]
    rng = random.Random(seed)
    for _ in range(4):
        key, value = rng.choice(keys), rng.choice(VALUES)
        options = {**given, key: value}
        try:
            with one_line_errors():
                train(name, work_dir=tmp_path / "run", overwrite=True, options=options,
                      hooks=[Stop()])  # fmt: skip
        except SystemExit as ended:
            said = str(ended)
            assert "\n" not in said, f"{key}={value!r}: {said}"
        except Exception as error:
            raise AssertionError(f"{key}={value!r}") from error


@pytest.mark.parametrize(("key", "value", "kind"), SECTIONS)
def test_a_section_of_a_wrong_kind_is_named(key, value, kind, index, tmp_path):
    options = {**settings("vit_micro_frames", index), key: value}
    with pytest.raises(SystemExit) as ended, one_line_errors():
        train("vit_micro_frames", work_dir=tmp_path / "run", options=options, hooks=[Stop()])
    assert str(ended.value) == (f"ConfigError: --cfg-options {key}={value!r}: {key} must be {kind}")


@pytest.mark.parametrize(("key", "value", "line"), OTHERS)
def test_a_value_that_does_not_exist_is_named(key, value, line, index, tmp_path):
    options = {**settings("vit_micro_frames", index), key: value}
    with pytest.raises(SystemExit) as ended, one_line_errors():
        train("vit_micro_frames", work_dir=tmp_path / "run", options=options, hooks=[Stop()])
    assert re.match(line.replace("?", "[?]"), str(ended.value).removeprefix("ConfigError: "))


def test_an_error_after_the_first_iteration_keeps_its_traceback(index, tmp_path):
    class Broken(Hook):
        def before_train_iter(self, runner, *args, **kwargs):
            if runner.iter == 1:
                raise KeyError("a fault of the program")

    given = settings("vit_micro_frames", index)
    with pytest.raises(KeyError, match="a fault of the program"):
        train("vit_micro_frames", work_dir=tmp_path, options=given, hooks=[Broken()])
