"""Consistency of the CamVid study's plan; its table by hand."""

import json
import math
import os
from pathlib import Path

import numpy as np
import pytest
from seen_data import write_frames

from drivemim.config.loading import load_config
from drivemim.data.index.builders.frames import build_frames_index
from drivemim.data.index.frame_index import FrameIndex
from drivemim.data.index.frame_keys import frame_keys
from studies.camvid import (
    METRICS,
    StudySettings,
    plan_camvid_study,
    table_of,
    write_table,
)
from studies.masking import index_plan

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
    for init in ("pretrained", "random"):
        for seed in SETTINGS.seeds:
            text = json.dumps({**run, "drivemim/absent_AP": math.nan})
            (tmp_path / f"{init}-{seed}.json").write_text(text)
    assert "| mAP | 30.0 ± 0.0 | 30.0 ± 0.0 | +0.0 ± 0.0 |" in write_table(SETTINGS, tmp_path)
    kept = json.loads((tmp_path / "results.json").read_text(), parse_constant=pytest.fail)
    assert kept["random"] == [{**run, "drivemim/absent_AP": None}] * 2


def test_initialisations_differ_only_in_their_initialisation():
    steps = {
        step.name: step for group in plan_camvid_study(SETTINGS, Path("data")) for step in group
    }
    for seed in SETTINGS.seeds:
        pretrained, random = (
            [part.replace(init, "ARM") for part in steps[f"finetune-{init}-{seed}"].command]
            for init in ("pretrained", "random")
        )
        extra = [part for part in pretrained if part not in random]
        assert [part.split("=")[0] for part in extra] == ["backbone_checkpoint"]
        assert [part for part in pretrained if part not in extra] == random


def test_every_command_is_accepted(repository, monkeypatch):
    monkeypatch.chdir(repository)
    for group in plan_camvid_study(SETTINGS, Path("data")):
        for step in group:
            assert (repository / step.command[0]).is_file()
            if "--cfg-options" not in step.command:
                continue
            at = step.command.index("--cfg-options") + 1
            options = dict(option.split("=", 1) for option in step.command[at:])
            load_config(step.command[1], options)


def built(plan, name, out):
    """The index that a step of a plan builds."""
    (step,) = [step for group in plan for step in group if step.name == name]
    values = {option: [step.command[at + 1] for at, part in enumerate(step.command)
                       if part == option] for option in ("--root", "--coco", "--rate")}  # fmt: skip
    path = build_frames_index(values["--root"], out, coco=values["--coco"], rate=30)
    return FrameIndex.open(path)


PLANS = {"camvid": lambda data: plan_camvid_study(SETTINGS, data), "masking": index_plan}


@pytest.mark.parametrize("study", PLANS)
def test_pretraining_never_sees_a_frame_that_is_evaluated_on(study, tmp_path):
    camvid, free = tmp_path / "camvid", tmp_path / "frames"
    write_frames(camvid, {"train": {"train": 4}, "val": {"val": 3}})
    write_frames(free, {"unlabelled": {"drive": 5}})
    plan = PLANS[study](tmp_path)
    index = built(plan, "index-frames", tmp_path / "frames.arrow")
    assert sorted(index.frames.path) == [
        *(f"camvid/train/{number}.png" for number in range(4)),
        *(f"frames/drive/{number}.png" for number in range(5)),
    ]
    # Labels are those of train alone.
    assert len(index.boxes) == 4
    labelled = built(plan, "index-camvid", tmp_path / "camvid.arrow")
    assert sorted(labelled.scenes.split) == ["train", "val"]
    assert len(labelled.frames) == len(labelled.boxes) == 7


@pytest.mark.parametrize("study", PLANS)
def test_no_image_of_camvids_val_is_pretrained_on(study, tmp_path):
    data = Path(os.environ.get("DRIVEMIM_REAL_DATA", "none")).absolute()
    if not (data / "camvid").is_dir() or not (data / "frames").is_dir():
        pytest.skip("real frames are not here")
    plan = PLANS[study](data)
    seen = built(plan, "index-frames", tmp_path / "frames.arrow")
    labelled = built(plan, "index-camvid", tmp_path / "camvid.arrow")
    labelled_val = np.flatnonzero(np.isin(labelled.frames.scene, labelled.scene_rows("val")))
    assert len(labelled_val) == 101
    keys = frame_keys(seen, np.arange(len(seen.frames)))
    assert not np.isin(frame_keys(labelled, labelled_val), keys).any()
    learned = np.flatnonzero(np.isin(labelled.frames.scene, labelled.scene_rows("train")))
    assert np.isin(frame_keys(labelled, learned), keys).all()
