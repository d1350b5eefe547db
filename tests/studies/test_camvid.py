"""The study's plan holds together, and its table is worked out by hand."""

import json
import math
from pathlib import Path

import pytest

from drivemim.engine.config import load_config
from drivemim.studies.camvid import METRICS, StudySettings, make_plan, table_of, write_table

SETTINGS = StudySettings(pretrain_iterations=24, finetune_iterations=12, seeds=(0, 1))


def runs(*values):
    return [{f"drivemim/{metric}": value for metric in METRICS} for value in values]


def test_mean_spread_and_paired_difference():
    table = table_of({"pretrained": runs(0.30, 0.34, 0.35), "random": runs(0.20, 0.25, 0.27)})
    # Means 33 and 24; deviations sqrt((9+1+4)/2) and sqrt((16+1+9)/2); pairs 10, 9, 8.
    row = "| mAP | 33.0 ± 2.6 | 24.0 ± 3.6 | +9.0 ± 1.0 |"
    assert table.splitlines()[2] == row
    assert len(table.splitlines()) == 2 + len(METRICS)


def test_one_seed_has_no_spread():
    assert "| 30.0 ± 0.0 | 10.0 ± 0.0 | +20.0 ± 0.0 |" in table_of(
        {"pretrained": runs(0.3), "random": runs(0.1)}
    )


def test_a_missing_run_is_no_table(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"pretrained-0\.json"):
        write_table(SETTINGS, tmp_path)


def test_the_runs_are_kept_as_strict_json(tmp_path):
    (run,) = runs(0.3)
    for arm in ("pretrained", "random"):
        for seed in SETTINGS.seeds:
            text = json.dumps({**run, "drivemim/absent_AP": math.nan})
            (tmp_path / f"{arm}-{seed}.json").write_text(text)
    assert "| mAP | 30.0 ± 0.0 | 30.0 ± 0.0 | +0.0 ± 0.0 |" in write_table(SETTINGS, tmp_path)
    kept = json.loads((tmp_path / "results.json").read_text(), parse_constant=pytest.fail)
    assert kept["random"] == [{**run, "drivemim/absent_AP": None}] * 2


def test_arms_differ_in_their_start_alone():
    steps = {step.name: step for stage in make_plan(SETTINGS, Path("data")) for step in stage}
    for seed in SETTINGS.seeds:
        pretrained, random = (
            [part.replace(arm, "ARM") for part in steps[f"finetune-{arm}-{seed}"].command]
            for arm in ("pretrained", "random")
        )
        extra = [part for part in pretrained if part not in random]
        assert [part.split("=")[0] for part in extra] == ["backbone_checkpoint"]
        assert [part for part in pretrained if part not in extra] == random


def test_every_command_is_accepted(repository, monkeypatch):
    monkeypatch.chdir(repository)
    for stage in make_plan(SETTINGS, Path("data")):
        for step in stage:
            assert (repository / step.command[0]).is_file()
            if "--cfg-options" not in step.command:
                continue
            at = step.command.index("--cfg-options") + 1
            options = dict(option.split("=", 1) for option in step.command[at:])
            load_config(step.command[1], options)
