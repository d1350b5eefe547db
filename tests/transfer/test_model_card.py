"""Every number of a model card, compared with its source."""

import copy
import importlib.util
import json
import re

import pytest
import torch
from card_rows import rows_of
from mmengine.config import Config

from drivemim import __version__
from drivemim.data.index.builders.nuscenes import build_nuscenes_index
from drivemim.errors import ConfigError, DataError
from drivemim.training.run import train
from drivemim.transfer.data_record import NO_TABLES, describe_data, frames_per_clip
from drivemim.transfer.exporting import export_backbone, read_export
from drivemim.transfer.model_card import limits, read_card_results, render_card

RESULTS = {
    "linear": {"mAP": 0.123456789, "count": 75995, "missing": float("nan")},
    "seeds": [3, 4.5],
    "checkpoint": "iter_2.pth",
    "whole": True,
}


@pytest.fixture(scope="module")
def index(repository, tmp_path_factory):
    """The small nuScenes data set of tests/data: its facts are known by hand.

    Two scenes of 3 samples and 8 frames a camera: scene-0103 at night in rain with CAM_FRONT,
    scene-0061 with CAM_FRONT and CAM_BACK; each has 3 boxes of a car, 2 of a pedestrian, 1 of a
    truck and 2 of a bicycle. Images have 48 x 64 pixels.
    """
    path = repository / "tests" / "data" / "conftest.py"
    spec = importlib.util.spec_from_file_location("small_nuscenes", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    root = module.write_data(tmp_path_factory.mktemp("card") / "data", module.make_tables())
    return build_nuscenes_index(root, "v1.0-mini", root.parent / "small.arrow")


@pytest.fixture(scope="module")
def run(repository, index, tmp_path_factory):
    folder = tmp_path_factory.mktemp("run")
    base = repository / "tests" / "toys" / "configs" / "vit.py"
    (folder / "card.py").write_text(f"""
_base_ = {str(base)!r}
index = 'a/variable/that/nothing/reads'
train_dataloader = dict(batch_size=3, dataset=dict(
    _delete_=True, type='ClipDataset', index={str(index)!r}, image_size=(64, 96),
    scenes=['scene-0061'], cameras=['CAM_FRONT'], num_frames=2, frame_interval=0.25,
    augment=dict(flip=0.25)))
model = dict(masking=dict(_delete_=True, type='ObjectMask', mask_ratio=0.75, visible_fraction=0.2))
default_hooks = dict(logger=dict(interval=1))
""")
    # MMEngine's logs go by this folder's name and the second: no other test may have it.
    train(folder / "card.py", work_dir=folder / "carded", seed=7)
    return folder / "carded" / "iter_2.pth"


@pytest.fixture(scope="module")
def card(run, tmp_path_factory):
    folder = tmp_path_factory.mktemp("export")
    (folder / "results.json").write_text(json.dumps(RESULTS))
    metadata = export_backbone(
        run, folder / "vit.safetensors", metrics=[f"probe={folder / 'results.json'}"]
    )
    return folder / "vit.md", metadata


@pytest.fixture(scope="module")
def tables(card):
    return rows_of(card[0].read_text())


def test_the_backbone_is_described_by_its_own_numbers(card, run, tables):
    state = read_export(card[0].with_suffix(".safetensors"))[0]
    rows = dict(tables["Model card of vit"])
    assert re.fullmatch(r"carded_\d{8}_\d{6}", rows.pop("experiment"))
    assert rows.pop("DriveMIM") == __version__
    assert rows == {
        "architecture": "drivemim.ViT(depth=3, embed_dims=16, num_heads=2, patch_size=8)",
        "parameters": str(sum(value.numel() for value in state.values())),
        "strides": "8",
        "channels": "16",
        "image size, height and width": "64, 96",
        "mean": "123.675, 116.28, 103.53",
        "std": "58.395, 57.12, 57.375",
        "colours": "RGB",
        "checkpoint": str(run),
        "averaged weights": "no",
    }


def test_the_data_are_those_of_the_config_and_the_index(index, tables):
    rows = dict(tables["Data"])
    assert re.fullmatch(r"[0-9a-f]{16}", rows.pop("tables"))
    assert rows == {
        "index": str(index),
        "source": "nuscenes v1.0-mini",
        "frames to draw from": "8",  # one camera of one scene, sweeps included
        "frames of annotated scenes": "8",
        "scenes": "1",
        "scenes at night": "0",
        "scenes in rain": "0",
        "annotated boxes: pedestrian": "2",
        "annotated boxes: vehicle": "4",
        "annotated boxes: other": "2",
        "stored sizes": "48 x 64",
        "chosen scenes": "scene-0061",
        "cameras": "CAM_FRONT",
        "boxes": "AnnotatedBoxes",
        "time steps": "2",
        "interval of the time steps": "0.25 s",
        "one camera per clip": "no",
        "lidar points per frame": "0",
        "augmentation": "AugmentSettings(flip=0.25)",
    }


@pytest.mark.parametrize(
    ("steps", "seconds", "interval"),
    [
        (1, None, "none, a single time step"),
        (1, 0.5, "none, a single time step"),
        (2, None, "one keyframe to the next"),
        (3, 0.1, "0.1 s"),
    ],
)
def test_the_interval_of_time_steps_makes_sense(card, steps, seconds, interval):
    metadata = copy.deepcopy(card[1])
    metadata["data"][0] |= {"steps": steps, "spacing": seconds}
    rows = rows_of(render_card("vit", metadata))["Data"]
    assert rows["time steps"] == str(steps)
    assert rows["interval of the time steps"] == interval


def test_the_recipe_is_that_of_the_config_and_the_log(tables):
    assert tables["Recipe"] == {
        "masks": "ObjectMask(mask_ratio=0.75, visible_fraction=0.2)",
        "boxes": "annotated, read by ObjectMask",
        "tracks": "read by ObjectMask",
        "lidar": "not read",
        "started from": "random initialisation",
        "mask schedule": "none",
        "target": "NormalizedPixels()",
        "auxiliary targets": "none",
        "weights of patches": "equal",
        "decoder": "ClipDecoder(depth=1, embed_dims=16, num_heads=2)",
        "teacher": "none",
        "iterations": "2",
        "clips per batch": "3",
        "processes": "1",
        "clips seen": "6",  # 2 iterations of 3
        "frames per clip": "2",  # 2 steps of one camera
        "frames seen, missing ones included": "12",
        "optimizer": "AdamW(lr=0.01)",
        "settings of the wrapper": "dict(clip_grad=dict(max_norm=1.0), constructor=LayerDecay, "
        "paramwise_cfg=dict(decay_rate=0.8))",
        "optimizer wrapper (precision)": "OptimWrapper",
        "schedule": "CosineAnnealingLR(begin=0, by_epoch=False, end=2, eta_min_ratio=0.01)",
        "averaging of weights": "EMAHook(momentum=0.3, update_buffers=True)",
        "seed": "7",
    }


def test_the_metrics_are_those_of_the_log_and_the_files(run, tables):
    (scalars,) = run.parent.glob("*/vis_data/scalars.json")
    last = json.loads(scalars.read_text().splitlines()[-1])
    assert (last["iter"], last["loss"] > 0) == (2, True)
    assert tables["Metrics"] == {"training loss": f"{last['loss']:.6g}"}
    assert tables["probe"] == {
        "checkpoint": "iter_2.pth",
        "linear.mAP": "0.123457",
        "linear.count": "75995",
        "linear.missing": "nan",
        "seeds[0]": "3",
        "seeds[1]": "4.5",
    }


def test_all_numbers_of_the_card_are_in_the_tested_tables(card, tables):
    assert list(tables) == ["Model card of vit", "Data", "Recipe", "Metrics", "probe"]
    lines = card[0].read_text().splitlines()
    prose = [line for line in lines if not line.startswith(("|", "From"))]
    # Those of the last log and of the limits; keys of frames are not for reading.
    assert re.findall(r"\d[\d.]*", "\n".join(prose)) == ["2", "64", "96"]


def test_limits_follow_from_the_data(card):
    page, metadata = card
    lines = limits(metadata)
    assert "small.arrow: cameras not seen: CAM_BACK." in lines
    assert "small.arrow: one camera only, CAM_FRONT." in lines
    assert "small.arrow: no scene's description mentions night." in lines
    assert all(f"- {line}" in page.read_text() for line in lines)
    assert not [line for line in lines if "generated" in line or "annotated" in line]

    def changed(**change):
        other = copy.deepcopy(metadata)
        other["data"][0].update(change)
        return " ".join(limits(other))

    assert "all images are generated" in changed(generated=True)
    nobody = {"pedestrian": 0, "vehicle": 3, "other": 0}
    assert "no pedestrian is annotated" in changed(objects=nobody)
    assert "no annotations" in changed(objects=dict.fromkeys(nobody, 0))
    assert "not recorded" in changed(described_scenes=0)
    assert "assumed, not measured, in 5 of 8 frames" in changed(uncalibrated_frames=5)
    assert "every scene is at night" in changed(night_scenes=1)
    assert "Some of its data" in changed(unreadable="gone")


def test_a_limit_holds_for_all_data_that_the_weights_saw(card):
    metadata = copy.deepcopy(card[1])
    (part,) = metadata["data"]
    night = {**part, "night_scenes": 1, "cameras": ["CAM_BACK"], "left_out_cameras": ["CAM_FRONT"],
             "image_size": [32, 48]}  # fmt: skip
    other = {**part, "index": "elsewhere/small.arrow", "rain_scenes": 1, "tables": "other"}
    reads = {"boxes": ["ObjectMask"], "tracks": [], "lidar": []}
    earlier = {"file": "first.pth", "data": [night, other],
               "recipe": {"reads": reads, "masking": {"type": "ObjectMask"}}}  # fmt: skip
    metadata["recipe"] |= {"started_from": "first.pth", "earlier": [earlier],
                           "masking": {"type": "RandomMask"},
                           "reads": {kind: [] for kind in reads}}  # fmt: skip
    lines = limits(metadata)
    # One index has two parts; files of one name are told apart.
    assert f"{part['index']}: no scene's description mentions rain." in lines
    assert "elsewhere/small.arrow: no scene's description mentions night." in lines
    assert "elsewhere/small.arrow: cameras not seen: CAM_BACK." in lines
    text = " ".join(lines)
    assert f"{part['index']}: no scene's description mentions night" not in text
    assert f"{part['index']}: cameras not seen" not in text
    assert f"{part['index']}: one camera" not in text
    assert "images of 64 x 96 and 32 x 48 pixels; other sizes were not seen." in text
    rows = rows_of("# Recipe" + render_card("x", metadata).partition("## Recipe")[2])["Recipe"]
    assert rows["masks"] == "RandomMask(); before: ObjectMask() (first.pth)"
    assert rows["boxes"] == "not read; before: annotated, read by ObjectMask (first.pth)"
    assert rows["lidar"] == "not read"
    metadata["recipe"]["earlier"] = [{"file": "external.pth", "data": None, "recipe": {}}]
    lines = limits(metadata)
    assert "The data of external.pth, whose weights it started from, is unknown." in lines
    assert "Pretrained on images of 64 x 96 pixels." in lines
    assert "| boxes | not read; before: not known (external.pth) |" in render_card("x", metadata)


def test_an_index_is_the_same_under_another_path(card):
    metadata = copy.deepcopy(card[1])
    (part,) = metadata["data"]
    night = {**part, "night_scenes": 1, "cameras": ["CAM_BACK"], "left_out_cameras": ["CAM_FRONT"]}
    for path, name in (("elsewhere/small.arrow", "small.arrow"),
                       ("elsewhere/copy.arrow", "small.arrow and copy.arrow")):  # fmt: skip
        metadata["data"] = [part, {**night, "index": path}]
        lines = limits(metadata)
        assert f"{name}: no scene's description mentions rain." in lines
        text = " ".join(lines)
        assert "cameras not seen" not in text
        assert "mentions night" not in text
        assert "one camera only" not in text
    # Other tables, version, source or cameras are another index; so is a folder without files.
    for change in ({"tables": "0"}, {"version": "v1.0"}, {"source": "nuimages"},
                   {"left_out_cameras": ["CAM_FRONT", "CAM_LEFT"]}):  # fmt: skip
        metadata["data"] = [part, {**night, "index": "elsewhere/small.arrow", **change}]
        assert "elsewhere/small.arrow: no scene's description mentions rain." in limits(metadata)
    folders = [{**each, "source": "frames", "version": "", "tables": NO_TABLES}
               for each in (part, night)]  # fmt: skip
    metadata["data"] = [folders[0], {**folders[1], "index": "other.arrow"}]
    assert {"other.arrow: cameras not seen: CAM_FRONT.",
            "small.arrow: cameras not seen: CAM_BACK."} <= set(limits(metadata))  # fmt: skip


def test_data_are_counted_as_they_are_chosen(index, tmp_path):
    def described(**part):
        loader = {"dataset": {"index": str(index), "image_size": (64, 96), **part}}
        return describe_data(Config({"train_dataloader": loader}))

    (whole,) = described(num_frames=3)
    assert whole["cameras"] == ["CAM_BACK", "CAM_FRONT"]
    assert whole["left_out_cameras"] == []
    # Keyframes only, since there is no frame_interval: 3 of one camera and 3 of each of two.
    assert [whole[key] for key in ("frames", "scenes", "night_scenes", "rain_scenes")] == [
        9, 2, 1, 1
    ]  # fmt: skip
    assert whole["objects"] == {"pedestrian": 4, "vehicle": 8, "other": 4}
    # Of each of two scenes: two boxes of the adult, three of the car, one of the truck, two of the
    # bicycle.
    (own,) = described(classes=("truck", "animal", "bicycle"))
    assert own["objects"] == {"truck": 2, "animal": 0, "bicycle": 4, "other": 10}
    lines = limits({"data": [own], "recipe": {}, "input_size": [64, 96]})
    assert "small.arrow: no animal is annotated." in lines
    assert frames_per_clip([whole]) == 6
    assert described(num_frames=2, frame_interval=0.5)[0]["frames"] == 24
    single = described(single_camera=True)
    assert frames_per_clip(single) == 1
    assert frames_per_clip([whole, *single]) is None
    assert frames_per_clip([]) is None
    (gone,) = described(index=str(tmp_path / "gone.arrow"))
    assert "gone.arrow" in gone["unreadable"]
    assert frames_per_clip([gone]) is None
    assert "generated" not in gone
    assert described(boxes=None)[0]["boxes"] is None


def test_losses_after_the_exported_checkpoint_are_left_out(run, tmp_path):
    import shutil

    copied = tmp_path / "run"
    shutil.copytree(run.parent, copied)
    (copied / "later" / "vis_data").mkdir(parents=True)
    lines = [{"loss": 0.5, "iter": 2}, {"loss": 0.1, "iter": 3}]
    (copied / "later" / "vis_data" / "scalars.json").write_text(
        "\n".join(json.dumps(line) for line in lines) + '\n{"loss": 0.'
    )
    recipe = export_backbone(copied / "iter_2.pth", tmp_path / "x.safetensors")["recipe"]
    assert recipe["last_log"]["losses"] == {"loss": 0.5}
    assert recipe["last_log"]["iteration"] == 2


def test_results_name_what_they_measured_and_are_of_these_weights(run, card, tmp_path):
    export, other = card[0].with_suffix(".safetensors"), tmp_path / "other.pth"
    torch.save({"state_dict": {}}, other)

    def page(**content):
        (tmp_path / "probe.json").write_text(json.dumps({"linear": {"mAP": 0.5}, **content}))
        metrics = [f"probe={tmp_path / 'probe.json'}"]
        export_backbone(run, tmp_path / "x.safetensors", metrics=metrics)
        return rows_of((tmp_path / "x.md").read_text())["probe"]

    for checkpoint in (run, export, tmp_path / "gone.pth"):
        assert page(checkpoint=str(checkpoint), val="mini_val") == {
            "checkpoint": str(checkpoint), "val": "mini_val", "linear.mAP": "0.5",
        }  # fmt: skip
    with pytest.raises(ConfigError, match=r"results of .*other\.pth, not of .*iter_2\.pth"):
        page(checkpoint=str(other))


@pytest.mark.parametrize(
    ("named", "error", "line"),
    [
        ("results.json", ConfigError, "must be NAME=FILE.json"),
        ("probe=gone.json", FileNotFoundError, "there is no file"),
        ("probe=broken.json", DataError, "is not JSON"),
        ("probe=empty.json", DataError, "contains no number"),
    ],
)
def test_results_that_cannot_be_shown(run, tmp_path, monkeypatch, named, error, line):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "broken.json").write_text('{"mAP": 0.')
    (tmp_path / "empty.json").write_text('{"name": "x", "flag": true}')
    with pytest.raises(error, match=line):
        export_backbone(run, tmp_path / "x.safetensors", metrics=[named])
    assert not list(tmp_path.glob("x.*"))
    (tmp_path / "good.json").write_text('{"mAP": 1}')
    with pytest.raises(ConfigError, match="every name once"):
        read_card_results(["a=good.json", "a=good.json"])


def test_only_a_card_is_replaced(run, tmp_path):
    (tmp_path / "readme.md").write_text("# My notes\n")
    with pytest.raises(ConfigError, match=r"readme.md exists and is not a model card"):
        export_backbone(run, tmp_path / "readme.safetensors")
    assert [path.name for path in tmp_path.iterdir()] == ["readme.md"]
    export_backbone(run, tmp_path / "x.safetensors")
    first = (tmp_path / "x.md").read_text()
    export_backbone(run, tmp_path / "x.safetensors", ema=True)
    assert (
        first.replace("averaged weights | no", "averaged weights | yes")
        == (tmp_path / "x.md").read_text()
    )
