"""Analysis of masks, from a small generated town to the table."""

import json
import sys

import cv2
import numpy as np
import pytest
import torch
from in_process import run_script
from mmengine.config import Config

from drivemim.cli.analyze_masks import main
from drivemim.config.loading import read_config
from drivemim.data.boxes.track_poses import clip_track_boxes
from drivemim.data.clips.clip_dataset import ClipDataset
from drivemim.data.clips.depth_maps import read_depth
from drivemim.data.index.builders.frames import build_frames_index
from drivemim.data.index.builders.nuscenes import build_nuscenes_index
from drivemim.errors import ConfigError, DataError
from drivemim.evaluation.mask_analysis import analysis_table, analyze_masks, needs_teacher
from drivemim.masking.leakage import find_correspondences
from drivemim.registry import MASKS
from drivemim.town import generate_town

GRID = (6, 10)


@pytest.fixture(scope="module")
def town(tmp_path_factory):
    """Index of a town of two short scenes with depth maps."""
    root = generate_town(
        tmp_path_factory.mktemp("town") / "town", scenes=2, seconds=1.0, sweep_rate=2.0,
        image_size=(96, 160), workers=1, pedestrians=12, vehicles=12, depth=True,
    )  # fmt: skip
    return build_nuscenes_index(root, "v1.0-mini", root / "index.arrow")


@pytest.fixture
def config(tmp_path):
    """A config of three strategies."""
    path = tmp_path / "strategies.py"
    path.write_text(
        "strategies = dict(\n"
        "    random=dict(type='RandomMask'),\n"
        "    object=dict(type='ObjectMask', mask_ratio=0.2),\n"
        "    guided=dict(type='MixtureMask', strategies=[dict(type='GuidedMask')]))\n"
    )
    return path


def _analyze(config, town, **arguments):
    dataset = {"index": str(town), "image_size": (96, 160), "num_frames": 2}
    return analyze_masks(config, dataset=dataset, **{"ratio": 0.75, "count": 2, **arguments})


def test_a_town_is_analyzed(config, town):
    results = _analyze(config, town)
    assert results["depth"] == "maps"
    assert results["clips"] == 2
    assert list(results["strategies"]) == ["random", "object"]
    assert results["left_out"] == ["guided"]
    random = results["strategies"]["random"]
    assert 0.1 < random["leakage"] < 0.6
    assert random["time"] + random["cameras"] <= random["leakage"]
    assert random["frame_budget"] == random["clip_budget"] == (0, 0)
    assert results["strategies"]["object"]["wiped_out"] == 0
    table = analysis_table(results).splitlines()
    assert [line.count("|") for line in table] == [table[0].count("|")] * 4
    assert table[2].startswith(f"| random | {100 * random['leakage']:.1f} |")


def test_the_same_seed_gives_the_same_numbers(config, town):
    one, same, other = (_analyze(config, town, only=["random"], seed=seed) for seed in (1, 1, 2))
    assert one == same
    assert one != other


def test_lidar_and_maps_give_leakage_of_one_size(config, town):
    maps, lidar = (
        _analyze(config, town, depth=depth)["strategies"]["random"]["leakage"]
        for depth in ("maps", "lidar")
    )
    assert lidar == pytest.approx(maps, abs=0.15)


def test_guided_strategies_take_the_images_contrast(config, town):
    results = _analyze(config, town, contrast_teacher=True, only=["guided"])
    assert list(results["strategies"]) == ["guided"]
    assert results["left_out"] == []
    assert not needs_teacher({"type": "RandomMask"})
    assert needs_teacher({"type": "ObjectMask", "base": {"type": "drivemim.GuidedMask"}})


def test_points_seen_twice_have_one_colour(town):
    """Points of a generated town found again are of the colour they were."""
    data = ClipDataset(index=town, image_size=(96, 160), num_frames=2, drop_incomplete=True)
    rows = data.rows(0)
    clips = data.load(rows, 0)
    # Patches of one pixel, so that a patch's colour is its content's.
    found = find_correspondences(
        clips,
        (96, 160),
        depth_TNHW=torch.from_numpy(read_depth(data.index, rows)),
        track_boxes=clip_track_boxes(data.index, rows),
        per_side=1,
    )
    assert len(found.point_E) > 0.5 * len(found.own_P)
    colours = clips.images_BTNHWC.reshape(-1, 3).float()
    here, there = colours[found.own_P[found.point_E]], colours[found.patch_E]
    shuffled = colours[found.patch_E[torch.randperm(len(found.patch_E))]]
    apart = (here - there).abs().mean(dim=1)
    assert apart.median() < 0.2 * (here - shuffled).abs().mean(dim=1).median()


def test_missing_depth_is_named(town):
    data = ClipDataset(index=town, image_size=(96, 160))
    path = next((town.parent / "depth" / "CAM_FRONT").iterdir())
    moved = path.with_suffix(".away")
    path.rename(moved)
    try:
        with pytest.raises(FileNotFoundError, match=rf"{path.name} of frame \w+ is missing"):
            read_depth(data.index, np.arange(len(data.index.frames))[None])
    finally:
        moved.rename(path)


@pytest.fixture
def folder(tmp_path):
    """Index of a folder of frames with a box each: no calibration, depth or lidar."""
    images, boxes = [], []
    for number in range(3):
        cv2.imwrite(str(tmp_path / f"{number}.png"), np.zeros((96, 160, 3), np.uint8))
        images.append({"id": number, "file_name": f"{number}.png", "width": 160, "height": 96})
        boxes.append({"id": number, "image_id": number, "category_id": 1, "area": 4096,
                      "iscrowd": 0, "bbox": [16, 16, 64, 64]})  # fmt: skip
    document = {"images": images, "annotations": boxes, "categories": [{"id": 1, "name": "car"}]}
    (tmp_path / "train.json").write_text(json.dumps(document))
    return build_frames_index([tmp_path], tmp_path / "index.arrow", coco=[tmp_path / "train.json"])


def test_without_depth_leakage_is_not_measured_but_objects_are(config, folder, capsys, monkeypatch):
    results = _analyze(config, folder, only=["random"])
    assert results["depth"] is None
    row = results["strategies"]["random"]
    assert [row[key] for key in ("leakage", "time", "cameras", "patches")] == [None] * 4
    assert row["large_objects"] == 2 * 4 * 2  # clips, draws, frames
    assert 0.5 < row["objects_hidden"] < 1
    (_, _, line) = analysis_table(results).splitlines()
    assert line.startswith("| random | - | - | - | - | ")
    arguments = ["--index", str(folder), "--image-size", "96", "160", "--only", "random"]
    monkeypatch.setattr(sys, "argv", ["drivemim analyze-masks", str(config), *arguments])
    main()
    printed = capsys.readouterr().out
    assert "points per frame; no depth\n" in printed
    assert (
        "Not measured, without depth: leakage (it needs the depth maps of drivemim town --depth"
        in printed
    )


@pytest.mark.parametrize(("depth", "lacking"), [("maps", "depth maps"), ("lidar", "lidar")])
def test_a_source_of_depth_that_is_not_there_is_named(config, folder, depth, lacking):
    match = rf"--depth {depth}: the clips of .*index\.arrow have no {lacking} to .*; .*town --depth"
    with pytest.raises(DataError, match=match):
        _analyze(config, folder, depth=depth)


def test_depth_of_missing_frames_is_zero(town):
    data = ClipDataset(index=town, image_size=(96, 160))
    depth = read_depth(data.index, np.array([[0, -1]]))
    assert depth.shape == (1, 2, 96, 160)
    assert (depth[0, 0] > 0).all()
    assert (depth[0, 1] == 0).all()


def test_mistakes(config, town, tmp_path):
    with pytest.raises(ConfigError, match="has no strategy 'tube', only random, object, guided"):
        _analyze(config, town, only=["tube"])
    with pytest.raises(ConfigError, match="depth='radar' must be one of auto, maps, lidar"):
        _analyze(config, town, depth="radar")
    for name, least in (("draws", 1), ("seed", 0)):
        with pytest.raises(ConfigError, match=f"--{name} {least - 1} must be"):
            _analyze(config, town, **{name: least - 1})
    with pytest.raises(ConfigError, match=r"mask_ratio=75 must be in \[0, 1\]"):
        _analyze(config, town, ratio=75)
    with pytest.raises(ConfigError, match="guided: needs a teacher; give --contrast-teacher"):
        _analyze(config, town, only=["guided"])
    with pytest.raises(ConfigError, match="no clip of num_frames=9, .* set num_frames=3 or fewer"):
        analyze_masks(config, dataset={"index": str(town), "image_size": (96, 160),
                                                  "num_frames": 9})  # fmt: skip
    with pytest.raises(ConfigError, match="has no dataset; give an index"):
        analyze_masks(config)
    empty = tmp_path / "empty.py"
    empty.write_text("model = dict()\n")
    with pytest.raises(ConfigError, match="has neither strategies nor model.masking"):
        analyze_masks(empty)


def test_the_shipped_config_has_every_registered_strategy(repository):
    cfg = Config.fromfile(str(repository / "configs/masks/strategies.py"))
    strategies = cfg.strategies.to_dict()
    MASKS.import_from_location()
    shipped = {
        name for name, made in MASKS.module_dict.items() if made.__module__.startswith("drivemim.")
    }
    assert {each["type"] for each in strategies.values()} == shipped
    assert {each["mask_ratio"] for each in strategies.values()} == {cfg.mask_ratio}
    for each in strategies.values():
        assert MASKS.build(each).mask_ratio == 0.75


def test_the_tool(config, town, tmp_path):
    out = tmp_path / "masks.json"
    done = run_script(
        "tools/analyze_masks.py", config, "--image-size", 96, 160, "--num-frames", 2,
        "--clips", 1, "--draws", 1, "--index", town, "--out", out,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    first = (
        f"{town}: 1 clips, 1 masks each, 6x10 patches, 0.2 to 0.75 hidden, "
        "strategies get 0 lidar points per frame"
    )
    assert done.stdout.startswith(first)
    assert "| random |" in done.stdout
    assert "pedestrian, vehicle, rest: fraction of the hidden patches that" in done.stdout
    assert "Left out, because they need a teacher (--contrast-teacher): guided" in done.stdout
    assert json.loads(out.read_text())["strategies"]["random"]["leakage"] > 0


def test_a_pretraining_config_brings_strategy_ratio_and_clips(town, tmp_path):
    """The augmentation of its training data is left out; what is given replaces the rest."""
    config = tmp_path / "own_run.py"
    data = {"type": "drivemim.ClipDataset", "index": str(town), "image_size": (48, 80),
            "num_frames": 2, "scenes": ["mini_train"], "augment": {"min_area": 0.5}}  # fmt: skip
    config.write_text(
        "model = dict(masking=dict(type='RandomMask', mask_ratio=0.6))\n"
        f"train_dataloader = dict(dataset={data})\n"
    )
    results = analyze_masks(config, patch_size=8, count=1, draws=1)
    assert list(results["strategies"]) == ["own_run"]
    assert results["ratios"] == [0.6]
    assert results["grid"] == [6, 10]
    assert results["strategies"]["own_run"]["frame_budget"] == (0, 0)
    used = results["dataset"]
    assert (used["image_size"], used["num_frames"], used["augment"]) == ((48, 80), 2, None)
    assert used["scenes"] == ["mini_train"]
    larger = analyze_masks(config, dataset={"image_size": (96, 160)}, ratio=0.75, count=1, draws=1)
    assert (larger["grid"], larger["ratios"]) == ([6, 10], [0.75])


def test_a_config_of_several_data_sets_needs_an_index(town, tmp_path):
    config = tmp_path / "two.py"
    data = {"type": "ClipDataset", "index": str(town), "image_size": (96, 160)}
    config.write_text(
        "model = dict(masking=dict(type='RandomMask'))\n"
        f"train_dataloader = dict(dataset=dict(type='ConcatDataset', datasets=[{data}, {data}]))\n"
    )
    with pytest.raises(ConfigError, match=r"two.py has 2 data sets; give an index \(--index\)"):
        analyze_masks(config)
    shared = analyze_masks(config, dataset={"index": str(town)}, count=1, draws=1)
    assert shared["grid"] == [6, 10]  # their image size, not the default's
    data["image_size"] = (48, 80)
    config.write_text(config.read_text().replace("(96, 160)", "(48, 80)", 1))
    with pytest.raises(ConfigError, match="data sets with different image_size; give --image-size"):
        analyze_masks(config, dataset={"index": str(town)})


def test_patches_are_those_of_the_configs_encoder(town, tmp_path):
    """A ResNet's patches have 32 pixels; the default without an encoder is 16."""
    index = {"train_dataloader.dataset.index": str(town),
             "train_dataloader.dataset.image_size": (96, 160)}  # fmt: skip
    read_config("resnet50_frames", index).dump(tmp_path / "run.py")
    results = analyze_masks(tmp_path / "run.py", count=1, draws=1)
    assert results["grid"] == [3, 5]


def test_the_tools_default_config_is_found_from_any_folder(town, tmp_path):
    done = run_script(
        "tools/analyze_masks.py", "--image-size", 96, 160, "--num-frames", 1, "--clips", 1,
        "--draws", 1, "--index", town, "--only", "random", folder=tmp_path,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "| random |" in done.stdout
