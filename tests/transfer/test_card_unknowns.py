"""Model cards of exports about which little is known, and the counts of resumed runs."""

import json

import pytest
from card_rows import rows_of
from mmengine.config import Config

from drivemim.errors import DataError
from drivemim.evaluation.results_file import results_json
from drivemim.transfer.model_card import read_card_results, render_card
from drivemim.transfer.recipe import begin_counts, continue_counts, count_until, describe_recipe

GONE = {
    "index": "gone.arrow", "unreadable": "gone", "chosen": None, "cameras": None, "boxes": None,
    "boxes_from": None,
    "steps": 1, "spacing": None, "one_camera": False, "augment": None, "lidar_points": 0,
}  # fmt: skip
NOTHING = {"data": [], "recipe": {"reads": {}, "started_from": None, "earlier": []}}


def metadata_of(part):
    """Return the fewest metadata that a card needs; all facts are unknown."""
    recipe = dict.fromkeys(
        ("masking", "target", "auxiliary", "patch_weights", "decoder", "teacher", "iterations",
         "batch_size", "processes", "clips", "frames_per_clip", "frames_seen", "optimizer",
         "optimizer_settings", "precision", "schedule", "averaged", "seed", "last_log")
    )  # fmt: skip
    return {
        "architecture": {"type": "mmdet.ResNet", "depth": 18},
        "parameters": 1, "strides": [4], "channels": [8], "input_size": [32, 64],
        "normalization": {"mean": [0.0], "std": [1.0], "bgr_to_rgb": False},
        "source": {"checkpoint": "x", "experiment": None, "ema": True}, "drivemim_version": "0",
        "data": [part],
        "recipe": {**recipe, "reads": {"boxes": (), "tracks": (), "lidar": ()},
                   "started_from": None, "mask_schedule": []},
    }  # fmt: skip


def test_unknown_facts_are_reported():
    text = render_card("x", metadata_of(GONE))
    rows = rows_of(text)
    assert rows["Data"]["counts"] == "not known: gone"
    keys = ("frames seen, missing ones included", "processes", "iterations")
    assert {rows["Recipe"][key] for key in keys} == {"not known"}
    assert "training loss is unknown" in text
    assert "has no results of these weights" in text
    assert "checkpoint='x.pth'" in text  # a ResNet needs nothing of DriveMIM


def test_a_resumed_run_counts_each_part_by_its_own_batch():
    """2 iterations of 3 x 4 clips of 2 frames, then 5 of 8 x 1 clips of 6 frames."""
    cfg = Config({"train_dataloader": {"batch_size": 3}})
    first = begin_counts(cfg, [{"one_camera": True, "cameras": None, "steps": 2}], 4)
    assert count_until(first, 2) == (24, 48)
    cfg = Config({"train_dataloader": {"batch_size": 8}})
    data = [{"one_camera": False, "cameras": ["a", "b"], "steps": 3}]
    second = continue_counts(begin_counts(cfg, data, 1), first, 2)
    assert count_until(second, 7) == (24 + 40, 48 + 240)
    assert count_until(continue_counts(second, second, 7), 8) == (72, 48 + 240 + 48)
    # Without counts in the checkpoint, or with clips of several lengths, the number is unknown.
    assert count_until(continue_counts(second, None, 2), 7) == (None, None)
    assert count_until({**second, "frames_per_clip": None}, 7) == (64, None)
    cfg = Config({"model": {}})
    assert describe_recipe(cfg, {"iter": 3}, "iter_3.pth", NOTHING)["clips"] is None


def test_points_of_curves_are_not_metrics(tmp_path):
    """``tools/test.py --out`` also writes the points of the curves in its charts."""
    file = tmp_path / "detector.json"
    curves = {"pedestrian": {"miss_rate": {"miss_rate": [1.0, 0.5]}}}
    file.write_bytes(results_json({"mAP": 0.25}, curves))
    _, content = read_card_results([f"detector={file}"])["detector"]
    assert content == {"mAP": 0.25}
    file.write_bytes(results_json({}, curves))
    with pytest.raises(DataError, match="contains no number"):
        read_card_results([f"detector={file}"])


def test_long_results_are_cut_and_say_so(tmp_path):
    content = {f"value {number}": number for number in range(100)}
    (tmp_path / "long.json").write_text(json.dumps(content))
    results = read_card_results([f"long={tmp_path / 'long.json'}"])
    text = render_card("x", metadata_of(GONE), results)
    assert "And 40 more in the file." in text
    assert list(rows_of(text)["long"].values()) == [str(number) for number in range(60)]
