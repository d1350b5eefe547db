"""Settings of a label study, valid and invalid."""

from pathlib import Path

import pytest

from drivemim.errors import ConfigError
from studies.label_efficiency.settings import Initialisation, Run


def test_initialisations_as_they_are_written():
    assert Initialisation.parse("random") == Initialisation(name="random", backbone=None)
    assert Initialisation.parse("mae+2=a=b.pth") == Initialisation(
        name="mae+2", backbone=Path("a=b.pth")
    )
    assert Initialisation.parse("mae=b.pth", Path("/runs")).backbone == Path("/runs/b.pth")
    for text in ("", "other", "random=x.pth", "other=", "=x.pth", "a/b=x.pth", "-x=x.pth"):
        with pytest.raises(ConfigError, match="random, or NAME=FILE"):
            Initialisation.parse(text)


def test_a_backbone_may_belong_to_its_seed():
    run = Run(init=Initialisation.parse("mae=runs/{seed}/mae-{seed}.pth"), fraction=0.1, seed=7)
    assert run.backbone == Path("runs/7/mae-7.pth")
    assert run.name == "mae-0.1-7"
    assert Run(init=Initialisation.parse("random"), fraction=1.0, seed=0).backbone is None


def test_seed_by_seed_and_from_few_labels_to_all(make_study):
    names = [run.name for run in make_study().runs]
    assert names[:4] == ["random-0.1-0", "good-0.1-0", "random-1.0-0", "good-1.0-0"]
    assert len(names) == len(set(names)) == 8


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"initialisations": ()}, "--init: give at least one"),
        (
            {"initialisations": (Initialisation.parse("random"), Initialisation.parse("random"))},
            "given twice in random, random",
        ),
        ({"fractions": (0.1, 0.1)}, "given twice in 0.1, 0.1"),
        ({"fractions": (0.0, 0.1)}, "--fractions 0.0"),
        ({"fractions": (float("nan"),)}, "--fractions nan"),
        ({"fractions": (25.0,)}, "--fractions 25.0: a fraction is above 0 and up to 1"),
        ({"seeds": (-1,)}, "--seeds -1"),
        ({"train": "val"}, "--train and --val are both val"),
        ({"iterations": 0}, "--iterations 0"),
        ({"metrics": ()}, "--metric: give at least one"),
        ({"metrics": ("drivemim/pedestrian_LAMR[size 0-32 px]",)}, "px]: lower is better"),
        ({"metrics": ("drivemim/mAR", "drivemim/vehicle_ECE")}, "vehicle_ECE: lower is better"),
        ({"metrics": ("nuscenes/mAP", "nuscenes/mATE_present")}, "mATE_present: lower is better"),
        ({"metrics": ("nuscenes/car_AOE",)}, "car_AOE: lower is better"),
    ],
)
def test_incomparable_settings_are_refused(make_study, changes, message):
    with pytest.raises(ConfigError, match=message):
        make_study(**changes)
