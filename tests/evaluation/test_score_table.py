"""The table on the console."""

import math

from drivemim.evaluation.precision_recall import Score
from drivemim.evaluation.score_table import (
    DetectionScores,
    format_table,
    mean_of_known,
    metric_names,
    to_metrics_dict,
)

NONE = Score(ap=math.nan, ap50=math.nan, ar=math.nan, miss_rate=math.nan, count=0)
SOME = Score(ap=0.25, ap50=0.5, ar=0.375, miss_rate=0.625, count=12)


def scores(classes, miss_rate_classes=()):
    return DetectionScores(
        classes=classes,
        miss_rate_classes=miss_rate_classes,
        table={"all": [SOME, *[NONE] * (len(classes) - 1)], "motion still": [NONE] * len(classes)},
        calibration={name: 0.125 if name == "pedestrian" else math.nan for name in classes},
        curves={},
    )


def squeezed(line):
    return " ".join(line.split())


def test_percent_and_dashes():
    lines = format_table(scores(["pedestrian", "vehicle"], ["pedestrian"])).splitlines()
    titles = squeezed(lines[0]).replace("pedestrian", "p").replace("vehicle", "v")
    assert titles == "slice p AP p AP50 p AR p LAMR p count v AP v AP50 v AR v count"
    assert squeezed(lines[2]) == "all 25.0 50.0 37.5 62.5 12 - - - 0"
    assert squeezed(lines[3]) == "motion still - - - - 0 - - - 0"
    assert lines[4:] == ["calibration error of scores (ECE): pedestrian 12.5, vehicle -"]
    assert len({len(line) for line in lines[:4]}) == 1


def test_many_classes_stand_below_each_other():
    text = format_table(scores(["pedestrian", "b", "c", "d"]))
    first, second = text.split("\n\n")
    assert first.splitlines()[0].endswith("c count")
    assert squeezed(second.splitlines()[0]) == "slice d AP d AP50 d AR d count"
    assert max(map(len, text.splitlines())) < 160


def test_names():
    classes = ["pedestrian", "vehicle"]
    numbers = to_metrics_dict(scores(classes, ["pedestrian"]))
    assert metric_names(classes, ["all", "motion still"], ["pedestrian"]) == list(numbers)
    assert numbers["pedestrian_AR"] == 0.375
    assert numbers["pedestrian_LAMR"] == 0.625
    assert math.isnan(numbers["pedestrian_LAMR[motion still]"])
    assert numbers["pedestrian_ECE"] == 0.125
    assert numbers["mAR"] == 0.375
    assert "vehicle_LAMR" not in numbers


def test_mean_of_known():
    assert mean_of_known([0.25, math.nan, 0.75]) == 0.5
    assert math.isnan(mean_of_known([math.nan]))
    assert math.isnan(mean_of_known([]))
