"""Five classes of a COCO folder with one option: training, evaluation, predictions, transfer."""

import json

import pytest
from own_classes import FIVE, write_coco
from shipped_configs import CONFIGS

from drivemim.config.loading import load_config
from drivemim.errors import ConfigError
from drivemim.evaluation import DetectionAP
from drivemim.registry import DATASETS
from drivemim.training.predicting import predict
from drivemim.training.run import evaluate, train

CONFIG = CONFIGS / "detection" / "atss_vit_micro_town.py"
LOADERS = ("train_dataloader.dataset", "val_dataloader", "test_dataloader")


@pytest.fixture(scope="module")
def options(tmp_path_factory):
    """Options that select the data, and make the two iterations fast."""
    index = str(write_coco(tmp_path_factory.mktemp("five")))
    found = {f"{loader}.dataset.index": index for loader in LOADERS}
    found |= {f"{loader}.dataset.scenes": split for loader, split in zip(
        LOADERS, ("train", "val", "val"), strict=True)}  # fmt: skip
    return {**found, "train_dataloader.batch_size": 2}


@pytest.fixture(scope="module")
def trained(options, tmp_path_factory):
    """A detector of five classes, trained for two iterations, and its validation."""
    work_dir = tmp_path_factory.mktemp("run")
    runner = train(
        CONFIG, work_dir=work_dir, iterations=2,
        options={**options, "classes": list(FIVE), "train_cfg.val_interval": 2},
    )  # fmt: skip
    return work_dir, runner.message_hub


def test_one_option_trains_and_evaluates_five_classes(trained, options, tmp_path):
    work_dir, hub = trained
    scalars = [name for name in hub.log_scalars if "drivemim/" in name]
    for name in FIVE:
        # Every image has one object of each class; there are two.
        assert hub.get_scalar(f"val/drivemim/{name}_count").current() == 2
        assert 0 <= hub.get_scalar(f"val/drivemim/{name}_AP50").current() <= 1
    assert not [name for name in scalars if "vehicle" in name]
    assert [name for name in scalars if name.endswith("_LAMR")] == ["val/drivemim/pedestrian_LAMR"]
    # The run's own config needs no option any more.
    (dump,) = work_dir.glob("*.py")
    metrics = evaluate(dump, work_dir, work_dir=tmp_path)
    assert metrics["drivemim/mAP"] == hub.get_scalar("val/drivemim/mAP").current()
    config = load_config(CONFIG, {**options, "classes": list(FIVE)})
    names = DetectionAP().names(DATASETS.build(config.test_dataloader.dataset))
    assert set(names) == set(metrics)


def test_other_classes_than_the_checkpoints_are_refused(trained, options, tmp_path):
    work_dir, _ = trained
    fix = "--cfg-options classes=\"\\['car', 'truck', 'pedestrian', 'cyclist', 'tram'\\]\""
    with pytest.raises(ConfigError, match=fix):
        evaluate(CONFIG, work_dir, work_dir=tmp_path, options=options)
    swapped = {**options, "classes": [*FIVE[1:], FIVE[0]]}
    with pytest.raises(ConfigError, match="the checkpoint has the classes car, truck, .* but test"):
        evaluate(CONFIG, work_dir, work_dir=tmp_path, options=swapped)


def test_predictions_name_the_classes(trained, options, tmp_path):
    work_dir, _ = trained
    index = options["test_dataloader.dataset.index"]
    source = index.replace("index.arrow", "val")
    given = {"classes": list(FIVE)}
    run = predict(
        CONFIG, work_dir, source, out=tmp_path, score_threshold=0, device="cpu", options=given
    )
    found = json.loads((tmp_path / "predictions.json").read_text())
    assert found["classes"] == list(FIVE)
    assert {each["class"] for image in run.images for each in image["detections"]} <= set(FIVE)


def test_a_config_file_sets_them_with_a_variable(trained, options, tmp_path):
    """With a map of categories, and a wrong head is refused before training."""
    file = tmp_path / "three.py"
    file.write_text(
        f"_base_ = {str(CONFIG)!r}\n"
        "classes = ('pedestrian', 'rail', 'car')\n"
        "class_map = {'tram': 'rail', 'van': 'car', 'truck': None}\n"
    )
    config = load_config(file, options)
    assert config.model.bbox_head.num_classes == 3
    dataset = DATASETS.build({**config.val_dataloader.dataset, "pipeline": []})
    labels = [each["bbox_label"] for each in dataset.get_data_info(0)["instances"]]
    assert labels == [1, 0, 2, 2]  # tram, person, car, van; no truck, cyclist, building
    wrong = {**options, "model.bbox_head.num_classes": 2}
    with pytest.raises(ConfigError, match="num_classes=2, but train_dataloader has the 3"):
        train(file, work_dir=tmp_path / "run", iterations=2, options=wrong)
    options = {**options, "class_map.rider": "car"}
    with pytest.raises(ConfigError, match="there is no category 'rider'"):
        train(file, work_dir=tmp_path / "run", iterations=2, options=options)
