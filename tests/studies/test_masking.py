"""Consistency of the masking study's plan; its tables by hand."""

from pathlib import Path

import pytest

from drivemim.config.loading import load_config
from studies.masking import (
    ENCODER,
    RECIPES,
    SOURCES,
    UNTRAINED,
    StudySettings,
    detector_plan,
    detector_recipes,
    index_plan,
    probe_plan,
)
from studies.masking_results import (
    best_recipes,
    detector_tables,
    probe_tables,
    read_probes,
)

SETTINGS = StudySettings(
    pretrain_iterations={"town": 24, "camvid": 36},
    finetune_iterations={"town": 12, "camvid": 12},
    seeds=(0, 1),
)
BEST = {"town": "object", "camvid": "tube"}


def probe_run(linear, knn):
    return {
        "linear/pedestrian_AP": linear - 0.1,
        "linear/vehicle_AP": linear + 0.1,
        "linear/mAP": linear,
        "knn/mAP": knn,
    }


def probes():
    """Every recipe alike."""
    plain = [probe_run(0.3, 0.2), probe_run(0.34, 0.26)]
    return {
        source.name: {UNTRAINED: plain, **{recipe: plain for recipe in RECIPES}}
        for source in SOURCES
    }


def test_the_probe_table_by_hand():
    results = probes()
    results["town"]["world"] = [probe_run(0.40, 0.20), probe_run(0.40, 0.24)]
    lines = probe_tables(results).splitlines()
    (row,) = [line for line in lines[: lines.index("")] if "world tube" in line]
    # Gains: (0.40 + 0.20 - 0.30 - 0.20) / 2 = 5 points, (0.40 + 0.24 - 0.34 - 0.26) / 2 = 2.
    assert row == (
        "| world tube + overlap | 30.0 ± 0.0 | 50.0 ± 0.0 | 40.0 ± 0.0 | 22.0 ± 2.8 | +3.5 ± 2.1 |"
    )
    (row,) = [line for line in lines[: lines.index("")] if "random patches |" in line][1:]
    assert row == "| random patches | 22.0 ± 2.8 | 42.0 ± 2.8 | 32.0 ± 2.8 | 23.0 ± 4.2 |  |"


def test_the_best_recipe_is_never_the_baseline():
    results = probes()
    results["town"]["random"] = [probe_run(0.9, 0.9)] * 2
    results["town"]["tube"] = [probe_run(0.5, 0.2), probe_run(0.3, 0.3)]
    results["camvid"]["mixture"] = [probe_run(0.3, 0.8), probe_run(0.3, 0.8)]
    assert best_recipes(results) == {"town": "tube", "camvid": "mixture"}


def test_the_detector_table_by_hand():
    def run(value):
        names = ("mAP", "mAP50", "pedestrian_AP50", "vehicle_AP50")
        return {f"drivemim/{name}": value for name in names}

    recipes = {"random": [run(0.2), run(0.3)], "tube": [run(0.25), run(0.25)]}
    table = detector_tables({source.name: recipes for source in SOURCES})
    assert "| tube | 25.0 ± 0.0 | 25.0 ± 0.0 | 25.0 ± 0.0 | 25.0 ± 0.0 | +0.0 ± 7.1 |" in table


def test_a_missing_probe_is_no_table(tmp_path):
    with pytest.raises(FileNotFoundError, match="probe-town-untrained-0"):
        read_probes(SETTINGS, tmp_path)


def test_recipes_differ_in_nothing_but_the_mask(repository, monkeypatch):
    """And a teacher, for the recipes with one."""
    monkeypatch.chdir(repository)
    for source in SOURCES:
        configs = {}
        for recipe in RECIPES:
            config = load_config(source.config(recipe)).to_dict()
            config["model"].pop("masking")
            config["model"].pop("teacher", None)
            config.pop("custom_hooks", None)
            configs[recipe] = config
        assert all(config == configs["random"] for config in configs.values())


def test_every_command_is_accepted_and_every_result_has_one(repository, monkeypatch):
    monkeypatch.chdir(repository)
    plan = [*index_plan(Path("data")), *probe_plan(SETTINGS), *detector_plan(SETTINGS, BEST)]
    steps = [step for group in plan for step in group]
    assert len({step.name for step in steps}) == len(steps)
    assert all(len(group) <= 4 for group in plan)
    probed = [step for step in steps if step.name.startswith("probe-")]
    assert len(probed) == 2 * 2 * (len(RECIPES) + 1)
    tested = [step for step in steps if step.name.startswith("test-")]
    assert len(tested) == 2 * 2 * len(detector_recipes("tube"))
    for step in steps:
        assert (repository / step.command[0]).is_file()
        if "--cfg-options" in step.command:
            at = step.command.index("--cfg-options") + 1
            options = dict(option.split("=", 1) for option in step.command[at:])
            model = load_config(step.command[1], options).model
            # One backbone all along, and no run with another's seed.
            encoder = model.get("encoder") or model.backbone
            assert {name: str(encoder[name]) for name in ENCODER} == {
                name: str(value) for name, value in ENCODER.items()
            }
        if "--seed" in step.command and step.name != "town":
            assert step.command[step.command.index("--seed") + 1] == step.name.rpartition("-")[2]


def test_a_backbone_is_exported_again_after_its_pretraining_was():
    pretrained = {path for group in probe_plan(SETTINGS) for step in group for path in step.writes}
    exports = [step for group in detector_plan(SETTINGS, BEST) for step in group
               if step.name.startswith("export-")]  # fmt: skip
    assert len(exports) == 8
    for step in exports:
        (read,) = step.reads
        assert step.command[1] == read
        assert Path(read) in pretrained


def test_detectors_differ_only_in_their_initialisation():
    steps = {
        step.name: [part.replace(recipe, "ARM") for part in step.command]
        for group in detector_plan(SETTINGS, BEST)
        for step in group
        for recipe in RECIPES
        if f"-{recipe}-" in step.name
    }
    assert steps["finetune-town-object-1"] == steps["finetune-town-random-1"]
    assert any("backbones/town-ARM-1" in part for part in steps["finetune-town-object-1"])
