"""Recipe studies: settings, the plan with fake tools, and the table by hand."""

import json
from pathlib import Path

import numpy as np
import pytest

from drivemim.config.loading import load_config
from drivemim.data.index.builders.frames import build_frames_index
from drivemim.data.index.frame_index import FrameIndex
from drivemim.data.index.frame_keys import frame_keys
from drivemim.errors import ConfigError, DataError
from drivemim.training.schedule import check_schedule
from studies.label_efficiency.inputs import parse_options, prepare_inputs
from studies.label_efficiency.label_plan import finished_runs, plan_label_study
from studies.label_efficiency.results import read_runs
from studies.label_efficiency.settings import Initialisation, Run
from studies.recipe_results import over_backbones, report, scores_of, write_results
from studies.recipe_words import recipe_words
from studies.recipes import (
    check_recipes,
    label_study,
    missing_backbones,
    pretraining_plan,
    read_study,
    write_inputs,
)
from workflow.steps import run_plan

from .label_efficiency.conftest import CONFIG, TEST, link_configs, write_index

SHIPPED = sorted(Path("tools/studies/comparisons").glob("*.py"))
METRIC = "drivemim/mAP50"
STUDY = {
    "recipes": {
        "old": {"config": "vit_micro_town", "iterations": 20},
        "new": {"config": "vit_micro_town", "iterations": 30,
                "options": {"model.decoder.depth": 1, "model.decoder.neck.scales": [1.0]}},
        "placebo": {"config": "vit_micro_town", "iterations": 30, "control": "new"},
    },
    "control": "old",
    "detector": {
        "config": str(CONFIG), "index": "data/index.arrow", "train": "train", "val": "val",
        "iterations": 2, "fractions": [1.0], "metrics": [METRIC],
    },
    "backbones": [0, 1],
    "seeds": [3, 4],
}  # fmt: skip


@pytest.fixture
def write(tmp_path):
    def write_study(**changes):
        path = tmp_path / "study.json"
        path.write_text(json.dumps({**STUDY, **changes}))
        return path

    return write_study


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"controll": "old"}, "unknown field `controll`; did you mean 'control'"),
        ({"control": "odl"}, "control='odl' is not a recipe; did you mean 'old'"),
        ({"recipes": {"old": {"config": "x", "iterations": "9"}}}, r"Expected `int`.*\['?\.*"),
        ({"recipes": {"old": {"config": "x", "iterations": 0}}}, "iterations must be at least 1"),
        ({"recipes": {"random": {"config": "x", "iterations": 1}}, "control": "random"}, "--init"),
        ({"backbones": [1, 1]}, r"backbones=\(1, 1\) must be different seeds"),
        ({"seeds": []}, r"seeds=\(\) must be"),
    ],
)
def test_wrong_settings_are_named(write, changes, message):
    with pytest.raises(ConfigError, match=message):
        read_study(write(**changes))


def test_options_that_no_command_line_holds_are_refused(write):
    study = read_study(write(options={"model.decoder": {"depth": 1}}))
    with pytest.raises(ConfigError, match=r"options\['model.decoder'\]: set its keys one by one"):
        pretraining_plan(study, Path("work"))


def test_options_come_through_the_command_line(write, tmp_path):
    options = {
        "custom_hooks": [{"type": "EMAHook"}], "experiment_name": "1", "default_scope": "x y",
    }  # fmt: skip
    for group in pretraining_plan(read_study(write(options=options)), Path("work")):
        for step in group:
            if "--cfg-options" in step.command:
                found = parse_options(step.command[step.command.index("--cfg-options") + 1 :])
                assert {key: found[key] for key in options} == options
    path = tmp_path / "study.py"
    lines = [f"{key} = {value!r}" for key, value in STUDY.items()]
    path.write_text("\n".join([*lines, "options = {'custom_hooks': [{1}]}"]))
    with pytest.raises(ConfigError, match=r"options\['custom_hooks'\]=\[\{1\}\] cannot be given"):
        pretraining_plan(read_study(path), Path("work"))


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.stem)
def test_the_configs_of_shipped_studies_accept_their_options(repository, path):
    study = read_study(repository / path)
    trainings = [
        step
        for group in pretraining_plan(study, Path("work"))
        for step in group
        if step.command[0] == "tools/train.py"
    ]
    assert len(trainings) == len(study.recipes) * len(study.backbones)
    for step in trainings:
        options = parse_options(step.command[step.command.index("--cfg-options") + 1 :])
        check_schedule(load_config(repository / step.command[1], options))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"options": {"train_dataloader.dataset.index": "data/indx.arrow"}}, "did you mean 'index"),
        ({"options": {"train_dataloader.dataset.index": "data/index.arrow",
                      "model.mask": 1}}, "mask"),
        ({"options": {"train_dataloader.dataset.index": "data/index.arrow",
                      "param_scheduler": [{"type": "ConstantLR"}]}},
         "vit_micro_town: its param_scheduler is a list of 1, but "),
        ({"detector": {**STUDY["detector"], "index": "data/no.arrow"}}, "no index at .*no.arrow"),
        ({"detector": {**STUDY["detector"], "val": "vall"}}, "did you mean 'val'"),
        ({"detector": {**STUDY["detector"], "options": {"model.nek": 1}}}, "nek"),
    ],
)  # fmt: skip
def test_mistakes_are_found_before_the_first_run(write, tmp_path, repository, changes, message):
    link_configs(tmp_path, repository)
    write_index(tmp_path / "data")
    good = {"options": {"train_dataloader.dataset.index": "data/index.arrow"}}
    check_recipes(read_study(write(**good)), tmp_path)
    with pytest.raises((ConfigError, DataError, FileNotFoundError), match=message):
        check_recipes(read_study(write(**{**good, **changes})), tmp_path)


def pairs(*values):
    return dict(zip(((0, 3), (0, 4), (1, 3), (1, 4)), values, strict=True))


def results_of(study, tables):
    """Return results from values by recipe; random initialisation has one per seed."""
    found = {}
    for name, values in tables.items():
        for (backbone, seed), value in values.items():
            name_of_init = name if name == "random" else f"{name}.{backbone}"
            run = Run(
                init=Initialisation(name=name_of_init, backbone=None), fraction=1.0, seed=seed
            )
            found[run] = {METRIC: value}
    return found


def test_differences_by_hand(write):
    study = read_study(write())
    tables = {
        "random": pairs(0.10, 0.12, 0.10, 0.12),
        "old": pairs(0.20, 0.22, 0.24, 0.26),
        "new": pairs(0.25, 0.25, 0.33, 0.33),
        "placebo": pairs(0.24, 0.26, 0.30, 0.32),
    }
    results = results_of(study, tables)
    assert scores_of(study, results, METRIC, 1.0) == tables
    text = report(study, results, {"old": [60.0, 120.0], "new": [90.0, 90.0]})
    # old - random: 10, 10, 14, 14: mean 12, deviation sqrt(16 / 3), t(3) = 3.1824, / sqrt(4).
    # new - random: 15, 13, 23, 21: mean 18, deviation sqrt(68 / 3).
    # new - old: 5, 3, 9, 7: mean 6, deviation sqrt(20 / 3); backbones 4 and 8: t(1) = 12.706.
    # placebo - new: -1, 1, -3, -1: mean -1, deviation sqrt(8 / 3).
    lines = [line for line in text.splitlines() if line.startswith(("| random", "| old", "| new"))]
    assert lines[:2] == ["| old | 20 | 1.5 | 1.00 |", "| new | 30 | 1.5 | 1.00 |"]
    assert lines[2:] == [
        "| random | 11.0 | | | | |",
        "| old | 23.0 | 21.0, 25.0 | **+12.0 ± 3.7** |  |  |",
        "| new | 29.0 | 25.0, 33.0 | **+18.0 ± 7.6** | **+6.0 ± 4.1** | +6.0 ± 25.4 |",
    ]
    assert "| placebo (control: new) | 28.0 | 25.0, 31.0 | " in text
    assert "| -1.0 ± 2.6 | -1.0 ± 12.7 |" in text
    assert "| placebo | 30 | - | - |" in text
    assert over_backbones({(0, 0): 1.0, (0, 1): 3.0, (1, 0): 4.0}).mean == 3.0  # of 2 and 4


def test_a_backbone_that_took_no_time_yet_has_no_factor(write):
    study = read_study(write())
    text = report(study, results_of(study, {}), {"old": [0.0], "new": [60.0]})
    assert "| new | 30 | 1.0 | - |" in text


def test_backbones_that_are_not_pretrained_yet_can_be_left_out(write, tmp_path):
    study = read_study(write())
    for name in ("old.0", "old.1", "new.0"):
        (tmp_path / "work" / "backbones").mkdir(parents=True, exist_ok=True)
        (tmp_path / "work" / "backbones" / f"{name}.safetensors").touch()
    missing = missing_backbones(study, Path("work"), tmp_path)
    assert missing == [("placebo", 0), ("new", 1), ("placebo", 1)]
    initialisations = label_study(study, Path("work"), tmp_path, without=missing).initialisations
    assert [init.name for init in initialisations] == ["random", "old.0", "new.0", "old.1"]


def test_messages_name_the_settings_of_the_study():
    with pytest.raises(ConfigError) as caught, recipe_words():
        raise ConfigError(
            "--init big.one.2: its pretraining saw 3 of the 9 images of --val mini_val; pretrain "
            "without them, or give --transductive, which says so in the results"
        )
    assert str(caught.value) == (
        "recipe big.one, backbone 2: its pretraining saw 3 of the 9 images of detector.val "
        "mini_val; pretrain without them"
    )


def test_a_changed_config_index_or_weights_makes_backbones_stale(write, tmp_path, repository):
    link_configs(tmp_path, repository)
    for name, text in (("train", TRAIN), ("export_backbone", EXPORT)):
        (tmp_path / "tools" / f"{name}.py").write_text(text)
    write_index(tmp_path / "data")
    base = repository / "configs" / "pretrain" / "vit_micro_town.py"
    mine, weights = tmp_path / "mine.py", tmp_path / "start.pth"
    weights.write_text("1")

    def go(*lines):
        mine.write_text("\n".join([f"_base_ = {str(base)!r}", *lines]))
        (tmp_path / "trained.txt").write_text("")
        recipes = {name: {"config": str(mine), "iterations": 20} for name in ("old", "new")}
        recipes["new"]["options"] = {"load_from": "start.pth"}
        study = read_study(write(
            recipes=recipes, backbones=[0],
            options={"train_dataloader.dataset.index": "data/index.arrow"},
        ))  # fmt: skip
        write_inputs(study, Path("work"), tmp_path)
        options = {"repository": tmp_path, "independent": True, "log": lambda line: None}
        run_plan(pretraining_plan(study, Path("work")), Path("work"), **options)
        return sorted((tmp_path / "trained.txt").read_text().split())

    assert go() == ["new-0", "old-0"]
    assert go() == []
    left = tmp_path / "work" / "pretrain" / "old-0" / "iter_10.pth"
    left.write_text("a checkpoint that the next run must not resume from")
    assert go("randomness = dict(seed=3)") == ["new-0", "old-0"]
    assert not left.exists()
    assert go("randomness = dict(seed=3)", "# a comment") == []
    write_index(tmp_path / "data")  # the same frames
    assert go("randomness = dict(seed=3)") == []
    weights.write_text("2")
    assert go("randomness = dict(seed=3)") == ["new-0"]
    write_index(tmp_path / "data", box=(10, 20, 31, 20))
    assert go("randomness = dict(seed=3)") == ["new-0", "old-0"]


def test_missing_runs_are_left_out_of_the_pairs(write):
    study = read_study(write())
    results = results_of(study, {"old": {(0, 3): 0.2, (1, 3): 0.3}, "new": {(1, 3): 0.4}})
    text = report(study, results, {})
    assert "Not complete: 11 runs are missing" in text
    assert "| new | 40.0 | 40.0 | - | +10.0 | +10.0 |" in text


TRAIN = """
import sys
from pathlib import Path
run = Path(sys.argv[sys.argv.index("--work-dir") + 1])
options = dict(option.split("=", 1) for option in sys.argv[sys.argv.index("--cfg-options") + 1:])
start = options.get("backbone_checkpoint", "None")
run.mkdir(parents=True, exist_ok=True)
# A pretrained backbone is worth 1 % an iteration, and 1 % a seed; a detector what it starts from.
worth = 0.01 * (int(options["train_cfg.max_iters"]) + int(sys.argv[sys.argv.index("--seed") + 1]))
content = "" if start == "None" else Path(start).read_text()
if "backbone_checkpoint" not in options:
    content = str(worth)
(run / f"iter_{options['train_cfg.max_iters']}.pth").write_text(content)
with open("trained.txt", "a") as file:
    file.write(run.name + "\\n")
"""
EXPORT = """
import sys
from pathlib import Path
out = Path(sys.argv[2])
out.parent.mkdir(parents=True, exist_ok=True)
out.write_text(Path(sys.argv[1]).read_text())
"""


def test_a_study_runs_every_pair_once_and_can_grow(write, tmp_path, repository):
    link_configs(tmp_path, repository)
    for name, text in (("train", TRAIN), ("test", TEST), ("export_backbone", EXPORT)):
        (tmp_path / "tools" / f"{name}.py").write_text(text)
    write_index(tmp_path / "data")
    work = Path("work")

    def go(**changes):
        (tmp_path / "trained.txt").write_text("")
        study = read_study(write(), **changes)
        options = {"repository": tmp_path, "independent": True, "log": lambda line: None}
        run_plan(pretraining_plan(study, work), work, **options)
        detectors = label_study(study, work, tmp_path)
        inputs = prepare_inputs(detectors, tmp_path)
        run_plan(plan_label_study(detectors, inputs, tmp_path), detectors.work_dir, **options)
        results = read_runs(detectors, finished_runs(detectors, inputs, tmp_path), tmp_path)
        return study, results, (tmp_path / "trained.txt").read_text().split()

    _, _, trained = go(backbones=(0,), seeds=(3,))
    assert sorted(trained) == [
        "new-0", "new.0-1.0-3", "old-0", "old.0-1.0-3", "placebo-0", "placebo.0-1.0-3",
        "random-1.0-3",
    ]  # fmt: skip
    study, results, trained = go()
    assert len(trained) == 3 + 14 - 4
    assert not go()[2]
    assert len(results) == 14
    scores = scores_of(study, results, METRIC, 1.0)
    gains = {key: value - scores["old"][key] for key, value in scores["new"].items()}
    assert gains == pytest.approx(pairs(0.1, 0.1, 0.1, 0.1))
    files = write_results(study, results, {}, tmp_path / work)
    assert [path.name for path in files] == ["recipes.json", "recipes.md", "recipes.png"]
    assert json.loads(files[0].read_text())["study"]["control"] == "old"
    assert files[2].stat().st_size > 1000


def test_frames_for_pretraining_hold_no_image_that_detectors_are_evaluated_on(real_data, tmp_path):
    """The indices are those of the commands in docs/results/results.md."""
    roots = [real_data / name for name in ("camvid/train", "idd/train", "idd/unlabelled", "frames")]
    seen = FrameIndex.open(build_frames_index(roots, tmp_path / "frames.arrow"))
    keys = frame_keys(seen, np.arange(len(seen.frames)))
    for name, count in (("camvid", 101), ("idd", 339)):
        files = [real_data / name / f"{split}.json" for split in ("train", "val")]
        path = build_frames_index([real_data / name], tmp_path / f"{name}.arrow", coco=files)
        index = FrameIndex.open(path)
        for split, is_seen in (("train", True), ("val", False)):
            rows = np.flatnonzero(np.isin(index.frames.scene, index.scene_rows(split)))
            assert (np.isin(frame_keys(index, rows), keys) == is_seen).all()
        assert len(rows) == count
