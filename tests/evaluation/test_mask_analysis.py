"""Analysis of masks, from a small generated town to the table."""

import json
import subprocess
import sys

import numpy as np
import pytest
import torch
from mmengine.config import Config

from drivemim.data.boxes.track_poses import clip_track_boxes
from drivemim.data.clips.clip_dataset import ClipDataset
from drivemim.data.clips.depth_maps import read_depth
from drivemim.data.index.builders.nuscenes import build_nuscenes_index
from drivemim.errors import ConfigError
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
    return analyze_masks(config, grid=GRID, dataset=dataset, **{"count": 2, **arguments})


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
    assert needs_teacher({"type": "ObjectMask", "background": {"type": "drivemim.GuidedMask"}})


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
    with pytest.raises(ConfigError, match="draws=0 must be 1 or more"):
        _analyze(config, town, draws=0)
    with pytest.raises(ConfigError, match="no clip of num_frames=9, .* set num_frames=3 or fewer"):
        analyze_masks(config, grid=GRID, dataset={"index": str(town), "image_size": (96, 160),
                                                  "num_frames": 9})  # fmt: skip
    with pytest.raises(ConfigError, match="has no dataset; give an index"):
        analyze_masks(config, grid=GRID)
    empty = tmp_path / "empty.py"
    empty.write_text("model = dict()\n")
    with pytest.raises(ConfigError, match="has neither strategies nor model.masking"):
        analyze_masks(empty, grid=GRID)


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


def test_the_tool(config, town, tmp_path, repository):
    command = [sys.executable, "tools/analyze_masks.py", str(config), "--image-size", "96", "160",
               "--num-frames", "2", "--clips", "1", "--draws", "1"]  # fmt: skip
    out = tmp_path / "masks.json"
    done = subprocess.run(
        [*command, "--index", str(town), "--out", str(out)],
        cwd=repository, capture_output=True, text=True, check=True,
    )  # fmt: skip
    first = (
        "1 clips, 1 masks each, 6x10 patches, 0.75 hidden, strategies get 0 lidar points per frame"
    )
    assert done.stdout.startswith(first)
    assert "| random |" in done.stdout
    assert "Left out, because they need a teacher: guided" in done.stdout
    assert json.loads(out.read_text())["strategies"]["random"]["leakage"] > 0
