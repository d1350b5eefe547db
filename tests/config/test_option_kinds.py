"""Options of another kind than the value that they replace."""

import pytest

from drivemim.config.loading import load_config
from drivemim.config.option_kinds import check_kinds
from drivemim.errors import ConfigError

CONFIG = {
    "model": {"masking": {"type": "RandomMask", "mask_ratio": 0.75}, "with_cp": False},
    "hooks": [{"interval": 3}],
    "data": {"boxes": {"type": "MotionBoxes"}, "name": "town", "scenes": "train"},
    "loss_scale": 512.0,
    "image_size": (224, 320),
    "milestones": [1],
    "cameras": ["front"],
    "stages": (False, True),
    "schedulers": [{"type": "LinearLR"}],
    "empty": [],
    "mixed": [1, "a"],
}


@pytest.mark.parametrize(
    ("key", "value", "wanted"),
    [
        ("model.masking", "RandomMask", "a dict"),
        ("model.masking", (1, 2), "a dict"),
        ("model.masking", [], "a dict"),
        ("model.masking.mask_ratio", "high", "a number"),
        ("model.masking.mask_ratio", True, "a number"),
        ("model.masking.mask_ratio", [], "a number"),
        ("hooks.0.interval", "3x", "a number"),
        ("model.with_cp", "Flase", "True or False"),
        ("data.name", 103, "a string, in quotes if it looks like a number"),
        ("data.name", True, "a string, in quotes if it looks like a number"),
        ("data.name", ["town", 5], "a string, in quotes if it looks like a number"),
        ("model.masking.mask_ratio", ["x", "y"], "a number"),
        ("model.masking.mask_ratio", [0.5, True], "a number"),
        ("model.with_cp", [1], "True or False"),
        ("model.with_cp", 7, "True or False"),
        ("image_size", "224", "a list of numbers"),
        ("image_size", [224, "x"], "a list of numbers"),
        ("milestones", "x", "a list of numbers"),
        ("milestones", True, "a list of numbers"),
        ("cameras", 3, "a list of strings"),
        ("stages", 2, "a list of True or False"),
        ("schedulers", "LinearLR", "a list of dicts"),
        ("mixed", True, "a list"),
    ],
)
def test_another_kind_is_refused(key, value, wanted):
    with pytest.raises(ConfigError) as error:
        check_kinds(CONFIG, {key: value})
    assert str(error.value).startswith(f"--cfg-options {key}={value!r}: give {wanted}, as in the")


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("model.masking", None),
        ("model.masking", {"type": "TubeMask"}),
        ("model.masking", [{"type": "TubeMask"}]),
        ("model.masking.mask_ratio", 1),
        ("model.masking.mask_ratio", (0.5, 0.9)),
        ("model.with_cp", 1),
        ("model.with_cp", 0),
        ("image_size", 224),
        ("image_size", [[224, 320], [448, 640]]),
        ("image_size", []),
        ("milestones", [1, None]),
        ("cameras", "front"),
        ("stages", (1, 0)),
        ("schedulers", {"type": "LinearLR"}),
        ("empty", "x"),
        ("mixed", ["b", 2]),
        ("data.name", {"type": "Town"}),
        ("data.boxes", "AnnotatedBoxes"),
        ("data.name", ["town", "other"]),
        ("data.scenes", 103),  # which has an error of its own
        ("loss_scale", "dynamic"),
        ("hooks.7.interval", "x"),  # no such hook
        ("new.key", "x"),
    ],
)
def test_what_an_argument_may_be_passes(key, value):
    check_kinds(CONFIG, {key: value})


def test_options_of_a_config_are_compared():
    with pytest.raises(ConfigError, match="optim_wrapper.optimizer.lr='high': give a number, as"):
        load_config("vit_micro_town", {"optim_wrapper.optimizer.lr": "high"})
