"""The plan with fake tools: steps that run, are kept, or become stale."""

import pytest

from drivemim.config.loading import load_config
from studies.label_efficiency.inputs import parse_options, prepare_inputs
from studies.label_efficiency.label_plan import finished_runs, plan_label_study
from studies.label_efficiency.settings import Initialisation
from workflow.step_process import StepFailedError
from workflow.steps import run_plan

from .conftest import CONFIG, write_index


@pytest.fixture
def go(place, make_study):
    """Return a function that runs a study; it returns the runs that were trained and evaluated."""

    def run(**changes):
        for name in ("trained.txt", "tested.txt"):
            (place / name).unlink(missing_ok=True)
        study = make_study(**changes)
        plan = plan_label_study(study, prepare_inputs(study, place), place)
        run_plan(plan, study.work_dir, repository=place, independent=True, log=lambda line: None)
        return tuple(
            sorted((place / name).read_text().split()) if (place / name).exists() else []
            for name in ("trained.txt", "tested.txt")
        )

    return run


def names_of(study, place):
    return [run.name for run in finished_runs(study, prepare_inputs(study, place), place)]


def test_every_run_once_and_then_none(go, place, make_study):
    study = make_study()
    names = [run.name for run in study.runs]
    assert names_of(study, place) == []
    assert go() == (sorted(names), sorted(names))
    assert go() == ([], [])
    assert names_of(study, place) == names


def test_a_changed_backbone_makes_its_runs_stale_alone(go, place, make_study):
    go()
    (place / "good.pth").write_text("0.06")
    assert names_of(make_study(), place) == [
        "random-0.1-0", "random-1.0-0", "random-0.1-1", "random-1.0-1",
    ]  # fmt: skip
    good = ["good-0.1-0", "good-0.1-1", "good-1.0-0", "good-1.0-1"]
    assert go() == (good, good)


def test_a_study_grows_without_repeating_runs(go, place):
    go()
    (place / "more.pth").write_text("0.1")
    initialisations = (
        Initialisation.parse("more=more.pth"),
        Initialisation.parse("good=good.pth"),
        Initialisation.parse("random"),
    )
    trained, _ = go(initialisations=initialisations)
    assert trained == ["more-0.1-0", "more-0.1-1", "more-1.0-0", "more-1.0-1"]
    trained, _ = go(seeds=(2, 0), fractions=(0.5, 0.1))
    assert trained == [
        "good-0.1-2", "good-0.5-0", "good-0.5-2", "random-0.1-2", "random-0.5-0", "random-0.5-2",
    ]  # fmt: skip
    assert go() == ([], [])


def test_other_settings_or_labels_make_all_stale(go, place, make_study):
    go()
    for changes in ({"iterations": 3}, {"options": ("model.neck.num_outs=3",)}):
        study = make_study(**changes)
        assert names_of(study, place) == []
    assert len(go(iterations=3)[0]) == 8
    assert names_of(make_study(), place) == []
    write_index(place / "data", box=(10, 20, 31, 21))
    assert len(go(iterations=3)[0]) == 8


def test_another_evaluation_trains_nothing_again(go, place, make_study):
    go()
    options = ("test_evaluator.calibration_bins=10",)
    assert names_of(make_study(options=options), place) == []
    trained, tested = go(options=options)
    assert (trained, len(tested)) == ([], 8)


def test_a_study_that_stopped_goes_on(go, place, make_study):
    (place / "break").write_text("random-0.1-1")
    with pytest.raises(StepFailedError, match="broken on purpose"):
        go()
    done = names_of(make_study(), place)
    assert done == ["random-0.1-0", "good-0.1-0", "random-1.0-0", "good-1.0-0"]
    (place / "break").unlink()
    trained, _ = go()
    assert not set(trained) & set(done)
    assert len(names_of(make_study(), place)) == 8


def test_a_missing_result_is_evaluated_again_from_its_checkpoint(go, place, make_study):
    go()
    (place / "work" / "good-1.0-1.json").unlink()
    assert "good-1.0-1" not in names_of(make_study(), place)
    assert go() == ([], ["good-1.0-1"])


def test_commands_are_accepted_and_initialisations_differ_only_in_their_initialisation(
    place, make_study, monkeypatch
):
    monkeypatch.chdir(place)
    options = ("model.backbone.embed_dims=128", "model.neck.in_channels=128")
    study = make_study(options=options)
    plan = plan_label_study(study, prepare_inputs(study, place), place)
    steps = {step.name: step for group in plan for step in group}
    assert len(steps) == 16
    assert all(len(group) == 2 for group in plan)
    for step in steps.values():
        if not step.name.endswith("-0.1-1"):
            continue
        at = step.command.index("--cfg-options") + 1
        config = load_config(CONFIG, parse_options(step.command[at:]))
        assert config.model.backbone.embed_dims == 128
        if step.name.startswith("train-"):
            data = config.train_dataloader.dataset.dataset
            _, _, fraction, seed = step.name.split("-")
            assert (data.label_fraction, data.label_seed) == (float(fraction), int(seed))
            assert config.model.backbone.get("init_cfg") is None
    for seed in ("0", "1"):
        random, good = (
            {part.replace(init, "ARM") for part in steps[f"train-{init}-0.1-{seed}"].command}
            for init in ("random", "good")
        )
        assert random - good == {"backbone_checkpoint=None", "model.backbone.init_cfg=None"}
        assert good - random == {"backbone_checkpoint=ARM.pth"}


def test_names_of_initialisations_cannot_collide(place, make_study):
    (place / "x.pth").write_text("0")
    initialisations = tuple(
        Initialisation.parse(text) for text in ("random", "test-random=x.pth", "random-0.1=x.pth")
    )
    study = make_study(initialisations=initialisations, fractions=(0.1, 1.0))
    plan = plan_label_study(study, prepare_inputs(study, place), place)
    written = [path for group in plan for step in group for path in step.writes]
    assert len(set(written)) == len(written) == 24
    assert len({step.name for group in plan for step in group}) == 24
