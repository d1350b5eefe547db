"""Five classes of a COCO folder with one option: training, evaluation, predictions, transfer."""

import json
from collections import Counter

import pytest
from mmengine.config import Config
from own_classes import FIVE, write_coco
from shipped_configs import CONFIGS

from drivemim.config.loading import load_config
from drivemim.data.classes import DETECTION_CLASSES
from drivemim.data.index.builders.nuscenes import build_nuscenes_index
from drivemim.errors import ConfigError
from drivemim.evaluation import DetectionAP
from drivemim.registry import DATASETS
from drivemim.town import generate_town
from drivemim.training.predicting import predict
from drivemim.training.probing import probe_backbone
from drivemim.training.run import evaluate, train
from drivemim.transfer.data_record import describe_data
from drivemim.visualization.reconstructions import draw_reconstructions

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
    # The config that the run wrote contains the option.
    (dump,) = work_dir.glob("*.py")
    metrics = evaluate(dump, work_dir, work_dir=tmp_path)
    assert metrics["drivemim/mAP"] == hub.get_scalar("val/drivemim/mAP").current()
    config = load_config(CONFIG, {**options, "classes": list(FIVE)})
    names = DetectionAP().names(DATASETS.build(config.test_dataloader.dataset))
    assert set(names) == set(metrics)


def test_the_first_lines_have_the_data_of_a_detector(trained):
    """The folder has two images of each split."""
    work_dir, _ = trained
    (log,) = work_dir.glob("*/*.log")
    assert (
        f"data: 2 training images, 2 validation images; classes: {', '.join(FIVE)}\n"
    ) in log.read_text()


def test_other_classes_than_the_checkpoints_are_refused(trained, options, tmp_path):
    work_dir, _ = trained
    names = "'car', 'truck', 'pedestrian', 'cyclist', 'tram'"
    fix = rf'--cfg-options "classes=\[{names}\]"'
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


def test_a_config_file_sets_classes_and_class_map_as_variables(trained, options, tmp_path):
    """A wrong head is refused before training."""
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
    # tram, person, car, van; truck, cyclist and building have no class
    assert labels == [1, 0, 2, 2]
    wrong = {**options, "model.bbox_head.num_classes": 2}
    with pytest.raises(ConfigError, match="num_classes=2, but train_dataloader has the 3"):
        train(file, work_dir=tmp_path / "run", iterations=2, options=wrong)
    options = {**options, "class_map.rider": "car"}
    with pytest.raises(ConfigError, match="there is no category 'rider'"):
        train(file, work_dir=tmp_path / "run", iterations=2, options=options)


@pytest.fixture(scope="module")
def town_options(tmp_path_factory):
    """Options that select a small town with the tables of nuScenes, both splits."""
    folder = tmp_path_factory.mktemp("town")
    root = generate_town(
        folder / "data", scenes=2, seconds=1.0, sweep_rate=4.0, image_size=(180, 320), workers=1
    )
    index = str(build_nuscenes_index(root, "v1.0-mini", folder / "index.arrow"))
    found = {f"{loader}.dataset.index": index for loader in LOADERS}
    more = {f"{loader}.dataset.filters.min_{side}": 0 for loader in LOADERS
            for side in ("width", "height")}  # fmt: skip
    return {**found, **more, "train_dataloader.batch_size": 2}


def test_the_ten_classes_of_nuscenes(town_options, tmp_path):
    """Train and evaluate; the classes have as many objects as pedestrian and vehicle together."""
    options = {**town_options, "train_cfg.val_interval": 2}
    runner = train(
        CONFIG, work_dir=tmp_path / "run", iterations=2, options={**options, "classes": "nuscenes"}
    )
    counts = {
        name: runner.message_hub.get_scalar(f"val/drivemim/{name}_count").current()
        for name in DETECTION_CLASSES
    }
    assert set(runner.val_dataloader.dataset.metainfo["classes"]) == set(DETECTION_CLASSES)
    assert counts["pedestrian"] > 0
    assert counts["car"] > 0
    two = load_config(CONFIG, options).val_dataloader.dataset
    found = Counter(
        each["bbox_label"]
        for info in DATASETS.build({**two, "pipeline": []})
        for each in info["instances"]
        if not each["ignore_flag"]
    )
    assert counts["pedestrian"] == found[0]  # the town has no strollers or wheelchairs
    vehicles = ("car", "truck", "bus", "trailer", "construction_vehicle")
    assert sum(counts[name] for name in vehicles) == found[1]


def test_masks_know_the_classes_of_the_clips(repository, options, tmp_path):
    """Pretrain with masks that give trams a budget; a budget for an unknown class is refused."""
    index = options["test_dataloader.dataset.index"]
    config = tmp_path / "masked.py"
    config.write_text(f"""
_base_ = {str(repository / "tests" / "toys" / "configs" / "vit.py")!r}
classes = {FIVE!r}
train_dataloader = dict(dataset=dict(
    _delete_=True, type='ClipDataset', index={index!r}, image_size=(64, 96)))
model = dict(masking=dict(
    _delete_=True, type='ObjectMask', mask_ratio=0.75, mode='quota',
    budget_fraction=dict(tram=0.2, cyclist=0.1)))
""")
    runner = train(config, work_dir=tmp_path / "masked-run")
    assert runner.train_dataloader.dataset.metainfo["classes"] == FIVE
    (part,) = describe_data(Config.fromfile(str(tmp_path / "masked-run" / "masked.py")))
    assert part["objects"] == {**dict.fromkeys(FIVE, 4), "other": 8}
    for options in {"model.masking.budget_fraction.trm": 0.1}, {"classes": ["car", "cyclist"]}:
        with pytest.raises(ConfigError, match="budget_fraction: 'trm?a?m?' is none of the data's"):
            train(config, work_dir=tmp_path / "refused", options=options)
    assert not (tmp_path / "refused").exists()
    results = probe_backbone(config, index=index, train="train", val="val")
    assert set(results["patches"]["val"]) == {"rest", *FIVE}
    assert 0 <= results["linear/tram_AP"] <= 1
    (clip, _) = draw_reconstructions(
        config, tmp_path / "masked-run" / "iter_2.pth", tmp_path / "pictures", count=1
    )
    assert clip.is_file()
