"""Reconstructions and probes that a pretraining sends to its loggers."""

import json
import shutil
from types import SimpleNamespace

import cv2
import numpy as np
import pytest
import torch
from colour_frames import write_colour_frames, write_small_config
from mmengine.config import Config
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from drivemim.data.index.builders.frames import build_frames_index
from drivemim.errors import ConfigError
from drivemim.town import generate_town
from drivemim.training.bare_model import evaluation_mode
from drivemim.training.data_choice import DataSource
from drivemim.training.hooks import ProbeFeatures
from drivemim.training.probing import collect_patches, frames_of, probe_backbone
from drivemim.training.run import train

PICTURES = {"default_hooks.pictures.type": "drivemim.DrawReconstructions"}
PROBES = {
    "default_hooks.probe.type": "drivemim.ProbeFeatures",
    "default_hooks.probe.train": "train",
    "default_hooks.probe.val": "val",
}


@pytest.fixture(scope="module")
def index(tmp_path_factory):
    return write_colour_frames(tmp_path_factory.mktemp("frames"))


@pytest.fixture(scope="module")
def config(repository, index, tmp_path_factory):
    return write_small_config(repository, index, tmp_path_factory.mktemp("config") / "small.py")


@pytest.fixture(scope="module")
def plain(config, tmp_path_factory):
    folder = tmp_path_factory.mktemp("plain")
    train(config, work_dir=folder, iterations=4)
    return folder


@pytest.fixture(scope="module")
def run(config, tmp_path_factory):
    folder = tmp_path_factory.mktemp("run")
    options = {**PICTURES, **PROBES, "default_hooks.pictures.interval": 2,
               "default_hooks.probe.interval": 3}  # fmt: skip
    train(config, work_dir=folder, iterations=4, options=options)
    return folder


def scalars_of(run):
    (file,) = run.glob("*/vis_data/scalars.json")
    return [json.loads(line) for line in file.read_text().splitlines()]


def test_the_training_itself_does_not_change(plain, run):
    losses = [
        {line["step"]: line["loss"] for line in scalars_of(each) if "loss" in line}
        for each in (plain, run)
    ]
    assert losses[0] == losses[1]
    assert losses[0]
    states = [torch.load(each / "iter_4.pth", weights_only=False) for each in (plain, run)]
    for name, value in states[0]["state_dict"].items():
        assert torch.equal(value, states[1]["state_dict"][name]), name


def test_pictures_are_files_and_in_tensorboard(run):
    names = ["reconstruction_0_2.png", "reconstruction_0_4.png", "reconstruction_1_2.png",
             "reconstruction_1_4.png"]  # fmt: skip
    paths = sorted(run.glob("*/vis_data/vis_image/*.png"))
    assert [path.name for path in paths] == names
    events = EventAccumulator(str(next(run.glob("*/vis_data"))))
    events.Reload()
    assert events.Tags()["images"] == ["reconstruction_0", "reconstruction_1"]
    images = events.Images("reconstruction_0")
    assert [each.step for each in images] == [2, 4]
    decoded = cv2.imdecode(np.frombuffer(images[1].encoded_image_string, np.uint8), 1)
    np.testing.assert_array_equal(decoded, cv2.imread(str(paths[1])))
    # Objects have the colours of the frame, green or red in BGR; with RGB they would be blue.
    assert (decoded == [0, 200, 0]).all(axis=-1).any() or (decoded == [0, 0, 200]).all(-1).any()
    assert not (decoded == [200, 0, 0]).all(axis=-1).any()


def test_probes_are_those_of_the_probe_command(config, index, run):
    probes = [line for line in scalars_of(run) if "probe/mAP" in line]
    assert [line["step"] for line in probes] == [0, 3, 4]
    results = probe_backbone(
        config, run / "iter_4.pth", index=index, train="train", val="val", allow_boxes_read=True
    )
    for name in ("pedestrian_AP", "vehicle_AP", "mAP"):
        assert probes[-1][f"probe/{name}"] == pytest.approx(results[f"linear/{name}"], abs=1e-6)
    assert probes[-1]["probe/effective_rank"] == pytest.approx(results["effective_rank"], rel=1e-5)
    (log,) = run.glob("*/*.log")
    assert "probe after iteration 0: AP of patches: pedestrian " in log.read_text()


def test_a_probe_of_trained_images_is_refused(config, tmp_path):
    options = {**PROBES, "train_dataloader.dataset.scenes": ["train", "val"]}
    match = "pretraining sees 6 of the 6 images of val; .*transductive=True"
    with pytest.raises(ConfigError, match=match):
        train(config, work_dir=tmp_path / "run", iterations=2, options=options)
    assert not (tmp_path / "run").exists()
    options["default_hooks.probe.transductive"] = True
    train(config, work_dir=tmp_path / "run", iterations=2, options=options)


def test_hooks_set_to_none_are_not_run(config, tmp_path):
    options = {"default_hooks.pictures": None, "default_hooks.probe": None}
    train(config, work_dir=tmp_path / "run", iterations=2, options=options)
    assert not any("probe/mAP" in line for line in scalars_of(tmp_path / "run"))


@pytest.mark.parametrize("hook", [PICTURES, PROBES], ids=["pictures", "probe"])
def test_a_detector_is_refused(repository, tmp_path, hook):
    detector = repository / "tests" / "toys" / "configs" / "detector.py"
    options = {**hook, "model.backbone.init_cfg": None}  # else weights would be downloaded
    with pytest.raises(ConfigError, match=r"the model is a .*RetinaNet"):
        train(detector, work_dir=tmp_path / "run", options=options)


def test_evaluation_mode_restores_the_mode_of_each_module():
    model = torch.nn.Sequential(torch.nn.Dropout(), torch.nn.Dropout())
    model[1].eval()
    with evaluation_mode(model):
        assert not model[0].training
    assert [model.training, model[0].training, model[1].training] == [True, True, False]


@pytest.mark.parametrize(("hook", "setting", "said"), [
    (PICTURES, {"pictures.width": 3}, "width 3 must be 16 or more pixels"),
    (PICTURES, {"pictures.width": -5}, "DrawReconstructions: width -5 must be 1 or more"),
    (PICTURES, {"pictures.clips": 1.5}, "DrawReconstructions: clips 1.5 must be a whole number"),
    (PICTURES, {"pictures.interval": 2.5}, "interval 2.5 must be a whole number"),
    (PROBES, {"probe.interval": True}, "ProbeFeatures: interval True must be a whole number"),
    (PROBES, {"probe.frames": 0}, "ProbeFeatures: frames 0 must be 1 or more"),
])  # fmt: skip
def test_wrong_settings_are_refused_before_the_training(config, tmp_path, hook, setting, said):
    more = {f"default_hooks.{key}": value for key, value in setting.items()}
    with pytest.raises(ConfigError, match=said):
        train(config, work_dir=tmp_path / "run", iterations=40, options={**hook, **more})
    assert not (tmp_path / "run").exists()


def test_a_moved_data_set_is_probed_where_it_is(index, config, tmp_path):
    """In the old folder, the images are black."""
    moved = tmp_path / "moved"
    shutil.copytree(index.parent, moved)
    old = tmp_path / "old"
    shutil.copytree(index.parent, old)
    build_frames_index([old], old / "index.arrow", coco=[old / "train.json", old / "val.json"])
    for path in old.glob("*/*.png"):
        cv2.imwrite(str(path), np.zeros((16, 16, 3), np.uint8))
    options = {**PROBES, "train_dataloader.dataset.index": str(old / "index.arrow"),
               "train_dataloader.dataset.data_root": str(moved)}  # fmt: skip
    train(config, work_dir=tmp_path / "run", iterations=2, options=options)
    first = next(line for line in scalars_of(tmp_path / "run") if "probe/mAP" in line)
    assert first["probe/mAP"] == pytest.approx(1.0)


def test_another_index_has_its_own_categories(index, config, tmp_path):
    """The class_map of the training data is not applied to another index of the probe."""
    options = {**PROBES, "train_dataloader.dataset.class_map": {
        "car": "pedestrian", "pedestrian": "vehicle",
    }}  # fmt: skip
    results = {}
    for name, more in (("own", {}), ("other", {"default_hooks.probe.index": str(index)})):
        runner = train(config, work_dir=tmp_path / name, iterations=2, options={**options, **more})
        (hook,) = (each for each in runner.hooks if isinstance(each, ProbeFeatures))
        labels = collect_patches(runner.model.eval(), hook._datasets["val"], max_clips=1).labels_X
        results[name] = torch.bincount(labels, minlength=3).tolist(), labels
    own, other = results["own"][1], results["other"][1]
    assert torch.equal((own == 1), (other == 2))
    assert not torch.equal(own, other)


def opened(training_data, **settings):
    """Return the hook of a run on ``training_data`` after it has opened its own data."""
    hook = ProbeFeatures(transductive=True, **settings)
    hook.open(SimpleNamespace(cfg=Config({"train_dataloader": {"dataset": training_data}})))
    return hook


def test_training_data_without_an_index_needs_one_in_the_hook(index):
    own = {"type": "Mine", "image_size": (64, 96)}
    splits = {"train": "train", "val": "val"}
    with pytest.raises(ConfigError, match="training data has no index; set the hook's index"):
        opened(own, **splits)
    assert len(opened(own, **splits, index=index)._datasets["val"]) == 6


def test_cameras_are_those_of_the_training_data(tmp_path):
    root = generate_town(
        tmp_path / "town", scenes=2, seconds=0.5, sweep_rate=2.0, image_size=(96, 160), seed=3
    )
    index = DataSource(root).open(tmp_path / "run")
    trained = {"index": str(index.path), "image_size": (64, 96), "cameras": "CAM_FRONT"}
    scenes = dict(zip(("train", "val"), index.scenes.name, strict=True))

    def cameras(training_data, **settings):
        frames = frames_of(opened(training_data, **scenes, **settings)._datasets["val"])
        names = [index.cameras[camera] for camera in index.frames.camera[frames.rows]]
        return set(names)

    assert cameras(trained) == {"CAM_FRONT"}
    assert cameras(trained, cameras=["CAM_BACK"]) == {"CAM_BACK"}
    assert len(cameras(trained, index=index.path)) == 6
    assert len(cameras({**trained, "cameras": None})) == 6


def test_a_resumed_run_does_not_probe_twice(config, tmp_path):
    options = {**PROBES, "default_hooks.probe.interval": 2}
    train(config, work_dir=tmp_path / "run", iterations=2, options=options)
    train(config, work_dir=tmp_path / "run", iterations=4, options=options, resume=True)
    steps = [
        line["step"]
        for file in sorted((tmp_path / "run").glob("*/vis_data/scalars.json"))
        for line in map(json.loads, file.read_text().splitlines())
        if "probe/mAP" in line
    ]
    assert sorted(steps) == [0, 2, 4]
