"""Tables by hand, and the files of a study with fake tools."""

import json

import pytest

from drivemim.errors import DataError
from studies.label_efficiency.inputs import LabelCount, StudyInputs, prepare_inputs
from studies.label_efficiency.label_plan import finished_runs, plan_label_study
from studies.label_efficiency.results import (
    headline,
    read_runs,
    report,
    scores_of,
    write_results,
)
from studies.label_efficiency.settings import Initialisation
from workflow.steps import run_plan

METRIC = "drivemim/mAP50"


@pytest.fixture
def inputs():
    frames = {0.01: 4, 0.1: 37, 1.0: 367}
    return StudyInputs(
        folder=None, index="", train="train", val="val", train_key="", val_keys=(),
        counts={(fraction, seed): LabelCount(frames=count, boxes=5 * count + 2 * seed)
                for fraction, count in frames.items() for seed in range(3)},
    )  # fmt: skip


@pytest.fixture
def study(make_study):
    return make_study(fractions=(0.01, 0.1, 1.0), seeds=(0, 1, 2))


# By init and fraction, one value a seed.
VALUES = {
    "random": {0.01: (0.10, 0.10, 0.10), 0.1: (0.20, 0.21, 0.22), 1.0: (0.40, 0.42, 0.44)},
    "good": {0.01: (0.11, 0.13, 0.12), 0.1: (0.30, 0.32, 0.34), 1.0: (0.50, 0.52, 0.54)},
}


def results_of(study, values=VALUES):
    return {
        run: {METRIC: values[run.init.name][run.fraction][run.seed]}
        for run in study.runs
        if run.seed < len(values[run.init.name].get(run.fraction, ()))
    }


def test_the_tables_by_hand(study, inputs):
    text = report(study, inputs, results_of(study))
    # t(0.975, 2) / sqrt(3) = 2.484: a deviation of 1 point is ± 2.5, of 2 points ± 5.0.
    assert "| 1 % | 4 | 22 | 10.0 ± 0.0 | 12.0 ± 2.5 | +2.0 ± 2.5 |" in text
    assert "| 10 % | 37 | 187 | 21.0 ± 2.5 | 32.0 ± 5.0 | **+11.0 ± 2.5** |" in text
    assert "| 100 % | 367 | 1837 | 42.0 ± 5.0 | 52.0 ± 5.0 | **+10.0 ± 0.0** |" in text
    # From 32 at 10 % to 52 at 100 %: 42 is half-way, at 31.6 %; so it is for every seed.
    assert "| 100 %, 367 frames: 42.0 ± 5.0 | 31.6 % (31.6 %) |" in text
    # From 12 at 1 % to 32 at 10 %: 21 is 9/20 of the way. Seeds: 9/19, 8/19 and 10/22.
    assert "| 10 %, 37 frames: 21.0 ± 2.5 | 2.82 % (2.64 % to 2.98 %) |" in text
    assert "| 1 %, 4 frames: 10.0 ± 0.0 | < 1 % (< 1 %) |" in text
    assert "Not complete" not in text
    assert (
        "- good needs 31.6 % of the labels (about 116 frames) for the best mAP50 of random, with "
        "100 % of the labels (367 frames)." in text
    )


def test_an_initialisation_that_is_worse(study, inputs):
    worse = {"random": VALUES["good"], "good": VALUES["random"]}
    text = report(study, inputs, results_of(study, worse))
    assert "- good does not reach the best mAP50 of random, with 100 % of the labels." in text
    assert "| 100 %, 367 frames: 52.0 ± 5.0 | not reached (not reached) |" in text
    assert "**-10.0 ± 0.0**" in text


def test_an_initialisation_that_is_better_with_the_least(study, inputs):
    values = {**VALUES, "good": {fraction: (0.9, 0.9, 0.9) for fraction in VALUES["good"]}}
    scores = scores_of(study, results_of(study, values), METRIC)
    assert headline(study, inputs, scores) == (
        "- good needs less than 1 % of the labels (less than 4 frames) for the best mAP50 of "
        "random, with 100 % of the labels (367 frames)."
    )


def test_a_baseline_that_is_best_with_few_labels_is_compared_at_its_best(study, inputs):
    falling = {0.01: (0.10, 0.10, 0.10), 0.1: (0.20, 0.22, 0.24), 1.0: (0.23, 0.20, 0.17)}
    values = {**VALUES, "random": falling}
    scores = scores_of(study, results_of(study, values), METRIC)
    # 22 at 10 %, 20 at 100 %. From 12 at 1 % to 32 at 10 %: 22 is half-way, at 3.16 %.
    assert headline(study, inputs, scores) == (
        "- good needs 3.16 % of the labels (about 12 frames) for the best mAP50 of random, with "
        "10 % of the labels (37 frames)."
    )


def test_a_baseline_that_learned_nothing_is_nothing_to_compare_with(study, inputs):
    values = {**VALUES, "random": {fraction: (0.0, 0.0, 0.0) for fraction in VALUES["random"]}}
    scores = scores_of(study, results_of(study, values), METRIC)
    assert "random scores zero at every label fraction" in headline(study, inputs, scores)


def test_an_incomplete_study_reports_its_finished_runs(study, inputs):
    values = {"random": {0.01: (0.10, 0.12), 0.1: (0.2,)}, "good": {0.01: (0.15,)}}
    text = report(study, inputs, results_of(study, values))
    assert "**Not complete: 14 of 18 runs are missing.**" in text
    assert "| 1 % | 4 | 22 | 11.0 ± 12.7 (of 2) | 15.0 (of 1) | +5.0 |" in text
    assert "| 10 % | 37 | 187 | 20.0 (of 1) | - | - |" in text
    assert "| 100 % | 367 | 1837 | - | - | - |" in text
    # Both have 1 % of seed 0 alone.
    assert "| 1 %, 4 frames: 10.0 | < 1 % (< 1 %) |" in text
    nothing_common = report(study, inputs, results_of(study, {"random": {0.1: (0.2,)}, "good": {}}))
    assert "needs" not in nothing_common


def test_one_initialisation_alone_has_a_table_and_no_comparison(make_study, inputs):
    alone = make_study(
        initialisations=(Initialisation.parse("random"),),
        fractions=(0.01, 0.1, 1.0),
        seeds=(0, 1, 2),
    )
    text = report(alone, inputs, results_of(alone))
    assert "| 100 % | 367 | 1837 | 42.0 ± 5.0 |" in text
    assert "needs" not in text


@pytest.fixture
def done(place, make_study):
    """Return a study that the fake tools have run, and its results."""
    study = make_study()
    inputs = prepare_inputs(study, place)
    plan = plan_label_study(study, inputs, place)
    run_plan(plan, study.work_dir, repository=place, independent=True, log=lambda line: None)
    return study, inputs


def test_files_are_written_with_everything_in_them(done, place):
    study, inputs = done
    results = read_runs(study, finished_runs(study, inputs, place), place)
    files = write_results(study, inputs, results, place)
    assert [file.name for file in files] == [
        f"label_efficiency.{suffix}" for suffix in ("json", "md", "png")
    ]
    assert (place / files[1]).read_text() == report(study, inputs, results)
    assert (place / files[2]).read_bytes().startswith(b"\x89PNG")
    document = json.loads((place / files[0]).read_text(), parse_constant=pytest.fail)
    assert document["complete"]
    assert document["settings"]["inits"] == {"random": None, "good": "good.pth"}
    assert document["settings"]["iterations"] == 2
    assert len(document["runs"]) == 8
    assert document["runs"][1]["metrics"] == {METRIC: pytest.approx(0.15), "drivemim/empty": None}
    assert (document["runs"][1]["frames"], document["runs"][1]["boxes"]) == (2, 3)
    # 0.05 more at both fractions: 0.3 lies between 0.15 and 0.35, three quarters of the way.
    needed = document["labels_needed"][METRIC]
    assert needed["1.0"]["good"]["fraction"] == pytest.approx(0.1**0.25)
    assert needed["0.1"]["good"]["most"] == "below the smallest"
    assert needed["1.0"]["random"] == {"fraction": 1.0, "least": 1.0, "most": 1.0}


def test_results_without_runs_or_metric_are_an_error(done, place, make_study):
    study, inputs = done
    with pytest.raises(DataError, match="no run of the study in work is finished"):
        read_runs(study, [], place)
    other = make_study(metrics=("drivemim/NDS",))
    with pytest.raises(DataError, match="no metric drivemim/NDS, only drivemim/mAP50"):
        read_runs(other, finished_runs(other, inputs, place), place)


def test_a_metric_that_is_not_a_number_is_shown_as_none(done, place, make_study):
    _, inputs = done
    study = make_study(metrics=("drivemim/empty",))
    results = read_runs(study, finished_runs(study, inputs, place), place)
    text = report(study, inputs, results)
    assert "| 100 % | 20 | 30 | - | - | - |" in text
    assert "not reach" not in text, "of what was not measured, nothing is said"
    write_results(study, inputs, results, place)
    document = json.loads((place / "work" / "label_efficiency.json").read_text())
    assert document["labels_needed"] == {"drivemim/empty": {}}
