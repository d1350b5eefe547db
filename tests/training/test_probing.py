"""Probes of frozen features, from index to metrics."""

import json

import cv2
import numpy as np
import pytest
import torch
from colour_frames import write_colour_frames
from in_process import run_script

from drivemim.data import ClipDataset
from drivemim.data.index.builders.frames import build_frames_index
from drivemim.errors import CheckpointError, ConfigError, DataError
from drivemim.evaluation.frozen_probe import probe_table
from drivemim.training.probing import collect_patches, probe_backbone
from drivemim.training.run import train
from drivemim.transfer.exporting import export_backbone


@pytest.fixture(scope="module")
def index(tmp_path_factory):
    return write_colour_frames(tmp_path_factory.mktemp("frames"))


@pytest.fixture(scope="module")
def config(repository):
    return repository / "tests" / "toys" / "configs" / "vit.py"


@pytest.fixture(scope="module")
def checkpoint(config, tmp_path_factory):
    work_dir = tmp_path_factory.mktemp("run")
    train(config, work_dir=work_dir)
    return work_dir / "iter_2.pth"


def test_training_frames_are_not_scored(config, index, tmp_path):
    with pytest.raises(DataError, match="--val: 6 of its 6 images are images of --train as well"):
        probe_backbone(config, index=index, train="train", val="train")
    for name in ("a/0", "b/1", "b/2"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        grey = 90 if name != "b/2" else 100
        cv2.imwrite(str(tmp_path / f"{name}.png"), np.full((16, 16, 3), grey, np.uint8))
    out = build_frames_index([tmp_path], tmp_path / "index.arrow")
    message = r"--val: 1 of its 2 images are .* identical to them, first b/1\.png to a/0\.png"
    with pytest.raises(DataError, match=message):
        probe_backbone(config, index=out, train="a", val="b")


def test_colours_are_found_by_a_random_backbone(config, index):
    results = probe_backbone(config, index=index, train="train", val="val")
    # Six frames of 64x96 pixels have 576 patches of 8 pixels; each object covers a quarter.
    assert results["patches"] == {
        split: {"rest": 288, "pedestrian": 144, "vehicle": 144} for split in ("train", "val")
    }
    assert results["linear/mAP"] == pytest.approx(1.0)
    assert results["linear/balanced_accuracy"] == pytest.approx(1.0)
    # The constant classifier: a quarter of the patches is of each class, and one of three classes
    # is predicted for all patches.
    assert results["constant"] == {
        "pedestrian_AP": 0.25, "vehicle_AP": 0.25, "mAP": 0.25,
        "balanced_accuracy": pytest.approx(1 / 3),
    }  # fmt: skip
    assert "random" not in results
    assert results == probe_backbone(config, index=index, train="train", val="val")
    other = probe_backbone(config, index=index, train="train", val="val", seed=1)
    assert other["effective_rank"] != results["effective_rank"]


def test_features_are_the_maps_patch_by_patch(index):
    class Colours(torch.nn.Module):
        """Return the mean colour of each patch of 8 pixels, as a map."""

        def data_preprocessor(self, clips, training):
            return {"clips": clips}

        def forward(self, clips, mode):
            assert mode == "tensor"
            images = clips.images_BTNHWC.flatten(0, 2).permute(0, 3, 1, 2).float()
            return (torch.nn.functional.avg_pool2d(images, 8),)

    dataset = ClipDataset(index=index, image_size=(16, 16), scenes="val")
    patches = collect_patches(Colours(), dataset)
    assert patches.features_XD.shape == (24, 3)
    blue, green, red = patches.features_XD.unbind(1)
    assert torch.equal(patches.labels_X == 1, (green == 200) & (red == 0))
    assert torch.equal(patches.labels_X == 2, (green == 0) & (red == 200))
    some = collect_patches(Colours(), dataset, max_clips=3)  # frames 0, 2 and 5 of six
    for position, frame in enumerate((0, 2, 5)):
        expected = patches.features_XD[4 * frame : 4 * frame + 4]
        assert torch.equal(some.features_XD[4 * position : 4 * position + 4], expected)
    assert len(some.labels_X) == 12
    assert len(collect_patches(Colours(), dataset, max_clips=9).labels_X) == 24


def test_checkpoint_and_export_are_the_same_backbone(config, checkpoint, index, tmp_path):
    export_backbone(checkpoint, tmp_path / "backbone.safetensors")
    # The pretraining's config names no index, so it is unknown which images it saw.
    scenes = {"index": index, "train": "train", "val": "val", "transductive": True}
    files = (checkpoint, tmp_path / "backbone.safetensors", tmp_path / "backbone.pth")
    found = [probe_backbone(config, file, **scenes) for file in files]
    assert found[0] == found[1] == found[2]
    folder = checkpoint.parent
    assert probe_backbone(config, folder, **scenes) == found[0]
    random = probe_backbone(config, index=index, train="train", val="val")
    assert random["effective_rank"] != found[0]["effective_rank"]
    assert found[0]["random"].keys() < random.keys()
    assert found[0]["random"] == {key: random[key] for key in found[0]["random"]}
    # The random baseline does not load the config's own initial weights.
    started = {"load_from": str(files[1])}
    again = probe_backbone(config, checkpoint, **scenes, options=started)
    assert again["random"] == found[0]["random"]
    table = probe_table(found[0]).splitlines()
    assert [line.split(" | ")[0] for line in table[2:7]] == [
        "| linear", "| linear, random initialisation", "| knn", "| knn, random initialisation",
        "| constant classifier",
    ]  # fmt: skip
    assert table[6] == "| constant classifier | 25.0 | 25.0 | 25.0 | 33.3 |"
    assert f"{random['effective_rank']:.1f} from random initialisation" in table[-1]


def test_levels_are_the_backbones_maps(config, checkpoint, index):
    def rank(level, blocks):
        return probe_backbone(
            config, checkpoint, index=index, train="train", val="val", level=level,
            transductive=True, options={"model.encoder.out_indices": blocks},
        )["effective_rank"]  # fmt: skip

    assert rank(0, (0, 2)) == rank(-1, (0,)) != rank(1, (0, 2)) == rank(-1, (2,))
    with pytest.raises(ConfigError, match=r"level=1 must be in \[-1, 0\]"):
        rank(1, (2,))


def test_users_mistakes_are_named(repository, config, checkpoint, index, tmp_path):
    scenes = {"index": index, "train": "train", "val": "val"}
    toy = repository / "tests" / "toys" / "configs" / "detector.py"
    with_an_encoder = repository / "configs" / "detection" / "dino_resnet50_nuscenes.py"
    for detector, kind in ((toy, "RetinaNet"), (with_an_encoder, "DINO")):
        with pytest.raises(ConfigError, match=rf"its model is a \S*{kind}, not a pretrainer"):
            probe_backbone(detector, **scenes)
    with pytest.raises(
        CheckpointError, match=r"does not fit .*vit.py; give the config of .*Tensors: misshapen"
    ):
        probe_backbone(config, checkpoint, options={"model.encoder.embed_dims": 32}, **scenes)
    torch.save({}, tmp_path / "other.pth")
    with pytest.raises(CheckpointError, match=r"other.pth is not a training checkpoint"):
        probe_backbone(config, tmp_path / "other.pth", **scenes)
    with pytest.raises(DataError, match="gone"):
        probe_backbone(config, **{**scenes, "val": "gone"})
    with pytest.raises(ConfigError, match="--seed -1 must be in"):
        probe_backbone(config, seed=-1, **scenes)
    for device in ("meta", "gpu", "cuda:99"):  # no machine can run on these devices
        match = rf"--device {device} cannot be used here \(.+\); use --device cpu"
        with pytest.raises(ConfigError, match=match):
            probe_backbone(config, device=device, **scenes)


def test_the_tool_writes_and_prints_the_metrics(config, index, tmp_path):
    def run(*arguments):
        return run_script("tools/probe.py", config, "--index", index, *arguments)

    done = run("--train", "train", "--val", "val", "--seed", 2, "--out", tmp_path / "probe.json")
    assert done.returncode == 0, done.stderr[-2000:]
    written = json.loads((tmp_path / "probe.json").read_text())
    assert written["seed"] == 2
    assert written["linear/mAP"] == pytest.approx(1.0)
    assert "| linear | 100.0 | 100.0 | 100.0 | 100.0 |" in done.stdout
    failed = run("--train", "train", "--val", "gone")
    assert failed.returncode == 1
    assert failed.stderr.strip().splitlines()[-1].startswith("DataError: ")
    assert "Traceback" not in failed.stderr


@pytest.fixture(scope="module")
def exposed(config, index, tmp_path_factory):
    """Folder of a backbone that saw all frames, also of val, and whose masks read the boxes."""
    folder = tmp_path_factory.mktemp("exposed")
    (folder / "seen.py").write_text(f"""
_base_ = {str(config)!r}
train_dataloader = dict(dataset=dict(
    _delete_=True, type='ClipDataset', index={str(index)!r}, image_size=(64, 96)))
model = dict(masking=dict(_delete_=True, type='ObjectMask', mask_ratio=0.75))
""")
    train(folder / "seen.py", work_dir=folder / "exposed-run")
    export_backbone(folder / "exposed-run" / "iter_2.pth", folder / "backbone.safetensors")
    return folder


@pytest.mark.parametrize("file", ["exposed-run/iter_2.pth", "backbone.safetensors", "backbone.pth"])
def test_a_backbone_that_saw_what_it_is_evaluated_on_is_refused_or_marked(
    config, index, exposed, file
):
    selection = {"index": index, "train": "train", "val": "val"}
    with pytest.raises(ConfigError, match="saw 6 of the 6 images of --val.*--transductive"):
        probe_backbone(config, exposed / file, **selection)
    with pytest.raises(ConfigError, match="boxes of 6 of the 6 frames of --val .*ObjectMask"):
        probe_backbone(config, exposed / file, **selection, transductive=True)
    results = probe_backbone(
        config, exposed / file, **selection, transductive=True, allow_boxes_read=True
    )
    assert results["notes"] == [
        "transductive, its pretraining saw 6 of the 6 images of --val",
        "its pretraining read the annotated boxes of 6 of the 6 frames of --train",
        "its pretraining read the annotated boxes of 6 of the 6 frames of --val",
    ]


def test_the_tool_reports_the_frames_that_the_backbone_saw(config, index, exposed, tmp_path):
    def run(*options):
        return run_script(
            "tools/probe.py", config, "--index", index,
            "--checkpoint", exposed / "backbone.safetensors", "--train", "train",
            "--val", "val", "--out", tmp_path / "probe.json", *options,
        )  # fmt: skip

    done = run()
    assert done.returncode == 1
    assert done.stderr.strip().splitlines()[-1].startswith("ConfigError: --checkpoint ")
    assert not (tmp_path / "probe.json").exists()
    done = run("--transductive", "--allow-boxes-read")
    assert "transductive, its pretraining saw 6 of the 6 images of --val.\n" in done.stdout
    assert done.stdout.endswith("frames of --val.\n")  # a prompt begins on its own line
    assert len(json.loads((tmp_path / "probe.json").read_text())["notes"]) == 3


def test_own_classes(config, index):
    """The order of the classes does not matter; with one class, other objects become rest."""
    both = probe_backbone(config, index=index, train="train", val="val")
    options = {"classes": ["car", "pedestrian"]}
    own = probe_backbone(config, index=index, train="train", val="val", options=options)
    assert own["patches"]["val"] == {"rest": 288, "car": 144, "pedestrian": 144}
    names = {"car_AP": "vehicle_AP", "pedestrian_AP": "pedestrian_AP", "mAP": "mAP"}
    for name, other in names.items():
        assert own[f"linear/{name}"] == pytest.approx(both[f"linear/{other}"])
    assert "| % | car AP | pedestrian AP | mAP | balanced accuracy |" in probe_table(own)
    options = {"classes": ["walker"], "class_map.pedestrian": "walker"}
    one = probe_backbone(config, index=index, train="train", val="val", options=options)
    assert one["patches"]["val"] == {"rest": 432, "walker": 144}
    with pytest.raises(ConfigError, match="no category of .* is mapped to 'cart': .*mean 'car'"):
        probe_backbone(config, index=index, train="train", val="val", options={"classes": ["cart"]})
