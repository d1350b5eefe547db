"""Input files of the runs: they match the training data, and missing inputs are refused at once."""

import json
from pathlib import Path

import numpy as np
import pytest

from drivemim.config.shipped import find_config
from drivemim.data.detection.detection_dataset import FrameDetection
from drivemim.data.index.builders.frames import build_frames_index
from drivemim.errors import CheckpointError, ConfigError, DataError
from studies.label_efficiency.inputs import (
    LabelCount,
    default_metrics,
    parse_options,
    prepare_inputs,
    relative_path,
)
from studies.label_efficiency.settings import METRICS, Initialisation

from .conftest import CONFIG, SCENES, write_index


def subset(place, fraction, seed):
    return json.loads((place / "work" / "inputs" / f"train-{fraction}-{seed}.json").read_text())


def test_frames_and_boxes_are_counted(place, make_study):
    inputs = prepare_inputs(make_study(), place)
    # 20 frames: a car in each, a pedestrian in every second.
    assert inputs.counts[1.0, 0] == inputs.counts[1.0, 1] == LabelCount(frames=20, boxes=30)
    # Two neighbours: one of them has a pedestrian.
    assert inputs.counts[0.1, 0] == inputs.counts[0.1, 1] == LabelCount(frames=2, boxes=3)


def test_the_subset_written_down_is_the_one_that_is_loaded(place, make_study):
    inputs = prepare_inputs(make_study(fractions=(0.25, 0.6), seeds=(0, 3)), place)
    for fraction, seed in inputs.counts:
        dataset = FrameDetection(
            index=place / "data" / "index.arrow",
            scenes="train",
            filters={},
            label_fraction=fraction,
            label_seed=seed,
        )
        tokens = [dataset.index.frames.token[row] for row in dataset.rows]
        assert subset(place, fraction, seed)["frames"] == tokens
        assert len(tokens) == round(20 * fraction)
    options = dict(option.split("=", 1) for option in inputs.train_options(0.25, 3))
    assert options["train_dataloader.dataset.dataset.label_fraction"] == "0.25"
    assert options["train_dataloader.dataset.dataset.label_seed"] == "3"
    assert options["train_dataloader.dataset.dataset.scenes"] == "train"
    assert options["val_dataloader.dataset.scenes"] == "val"
    assert inputs.test_options() == (
        "test_dataloader.dataset.index=data/index.arrow",
        "test_dataloader.dataset.scenes=val",
    )


def test_filters_decide_what_counts_as_a_box(place, make_study):
    path = "train_dataloader.dataset.dataset"
    assert prepare_inputs(make_study(), place).counts[1.0, 0].boxes == 30
    with pytest.raises(DataError, match="leave no object in any of 20 frames"):
        prepare_inputs(make_study(options=(f"{path}.filters.min_area=1000",)), place)
    # A pedestrian in every second frame: some seeds draw one without.
    study = make_study(
        options=(f"{path}.class_map.car=None",), fractions=(0.05, 1.0), seeds=tuple(range(12))
    )
    with pytest.raises(DataError, match=r"5 % of train with seed \d+ is 1 frames without a box"):
        prepare_inputs(study, place)


def test_a_schedule_that_cannot_be_set_is_refused_before_the_first_run(place, make_study):
    options = ("param_scheduler.1.by_epoch=True",)
    with pytest.raises(ConfigError, match="param_scheduler.1 .* has by_epoch=True"):
        prepare_inputs(make_study(options=options), place)


@pytest.mark.parametrize(
    ("schedule", "found"),
    [
        ("[{'type': 'MultiStepLR', 'milestones': [5]}]", "a list of 1"),
        ("[{'type': 'LinearLR'}, {'type': 'LinearLR'}, {'type': 'LinearLR'}]", "a list of 3"),
        ("None", "not a list"),
    ],
)
def test_a_config_without_warm_up_and_decay_is_named(place, make_study, schedule, found):
    study = make_study(options=(f"param_scheduler={schedule}",))
    match = rf"^{study.config}: its param_scheduler is {found}, but .* a warm-up and a decay"
    with pytest.raises(ConfigError, match=match):
        prepare_inputs(study, place)


def test_the_files_follow_the_labels_and_not_the_index_file(place, make_study):
    def contents():
        prepare_inputs(make_study(), place)
        files = sorted((place / "work" / "inputs").iterdir())
        return {file.name: file.read_text() for file in files}

    first = contents()
    index = place / "data" / "index.arrow"
    before = index.read_bytes()
    write_index(place / "data")
    assert index.read_bytes() != before
    assert contents() == first
    write_index(place / "data", box=(10, 20, 30, 21))
    moved = contents()
    assert [name for name in first if moved[name] != first[name]] == [
        "train-0.1-0.json", "train-0.1-1.json", "train-1.0-0.json", "train-1.0-1.json", "val.json",
    ]  # fmt: skip
    write_index(place / "data", scenes={**SCENES, "val": {"d": 9}})
    assert contents()["val.json"] != first["val.json"]


def test_a_missing_backbone_is_refused_before_the_first_run(place, make_study):
    initialisations = (Initialisation.parse("random"), Initialisation.parse("late=late-{seed}.pth"))
    (place / "late-0.pth").write_text("0")
    with pytest.raises(CheckpointError, match=r"--init late: there is no backbone at late-1\.pth"):
        prepare_inputs(make_study(initialisations=initialisations), place)
    assert not (place / "work").exists()


def test_a_config_whose_initialisations_would_all_start_from_a_detector_is_refused(
    place, make_study
):
    with pytest.raises(ConfigError, match=r"load_from='coco\.pth', which every --init would start"):
        prepare_inputs(make_study(options=("load_from=coco.pth",)), place)


def test_missing_data_and_settings_are_named(place, make_study):
    with pytest.raises(DataError, match="trian.*did you mean 'train'"):
        prepare_inputs(make_study(train="trian"), place)
    with pytest.raises(ConfigError, match="give KEY=VALUE"):
        prepare_inputs(make_study(options=("model.neck",)), place)
    with pytest.raises(ConfigError, match="num_worker"):
        prepare_inputs(make_study(options=("train_dataloader.num_worker=1",)), place)
    with pytest.raises(ConfigError, match="there is no config"):
        prepare_inputs(make_study(config=Path("configs/detection/atss.py")), place)
    with pytest.raises(FileNotFoundError, match="no index"):
        prepare_inputs(make_study(index=Path("data/none.arrow")), place)


def test_a_missing_metric_is_refused_before_the_first_run(place, make_study):
    message = (
        r"--metric drivemim/car_AP50: the evaluation of .*_camvid\.py does not have it; it has "
        r"drivemim/mAP, .*vehicle_ECE, and \d+ more for slices; did you mean 'drivemim/mAP50'\?"
    )
    with pytest.raises(ConfigError, match=message):
        prepare_inputs(make_study(metrics=("drivemim/mAP50", "drivemim/car_AP50")), place)
    assert not (place / "work").exists()
    near = "drivemim/vehicle_AP50[size 0-32 px]"
    prepare_inputs(make_study(metrics=("drivemim/mAP50", near)), place)
    with pytest.raises(ConfigError, match=r"size 0-32 px\]: the evaluation"):
        prepare_inputs(
            make_study(metrics=(near,), options=("test_evaluator.size_edges=[0,50]",)), place
        )
    # Another library's evaluator does not tell.
    other = make_study(metrics=("coco/bbox_mAP",), options=("test_evaluator.type=CocoMetric",))
    prepare_inputs(other, place)


def test_training_frames_are_not_evaluated(place, make_study):
    """Splits can have scenes in common: nuScenes' mini_train is in train; a scene is a split."""
    with pytest.raises(DataError, match="10 of its 10 frames are in --train train as well"):
        prepare_inputs(make_study(val="a"), place)
    assert not (place / "work").exists()


def test_copies_of_training_images_are_not_evaluated(place, make_study):
    """Three images of val are identical to images of train, under other names."""
    for frame in (2, 5, 7):
        copy = place / "data" / "d" / f"{frame}.png"
        copy.write_bytes((place / "data" / "b" / f"{frame % 5}.png").read_bytes())
    files = [place / "data" / f"{split}.json" for split in ("train", "val")]
    build_frames_index([place / "data"], place / "data" / "index.arrow", coco=files)
    message = (
        r"--val val: 3 of its 10 images are identical to images of --train train, first "
        r"d/2\.png to b/2\.png; .*take them out of one of the two"
    )
    with pytest.raises(DataError, match=message):
        prepare_inputs(make_study(), place)
    assert not (place / "work").exists()


def test_a_data_set_that_takes_no_fraction_is_refused(place, make_study):
    (place / "other.py").write_text(
        "train_dataloader = dict(dataset=dict(type='CocoDataset', ann_file='x.json'))"
    )
    with pytest.raises(ConfigError, match="train_dataloader.dataset is a CocoDataset"):
        prepare_inputs(make_study(config=Path("other.py")), place)
    clips = "tools/studies/configs/pretrain/vit_micro_tube_town.py"
    with pytest.raises(ConfigError, match="no test_dataloader"):
        prepare_inputs(make_study(config=Path(clips)), place)


def test_options_are_read_as_the_tools_read_them():
    assert parse_options(()) == {}
    assert parse_options(("a.b=1", "c=[1,2]", "d=None", "e=x=y")) == {
        "a.b": 1, "c": [1, 2], "d": None, "e": "x=y",
    }  # fmt: skip


def test_paths_are_named_from_the_repository(tmp_path):
    assert relative_path(tmp_path / "a" / "b", tmp_path) == "a/b"
    assert relative_path(Path("a/b"), tmp_path) == "a/b"
    assert relative_path(tmp_path.parent / "x", tmp_path) == str(tmp_path.parent / "x")


def test_the_digest_sees_every_frame(place, make_study):
    prepare_inputs(make_study(), place)
    digests = {
        subset(place, fraction, seed)["labels"] for fraction in (0.1, 1.0) for seed in (0, 1)
    }
    assert len(digests) == 1
    assert np.isin(subset(place, 0.1, 1)["frames"], subset(place, 1.0, 1)["frames"]).all()


def test_a_study_that_names_no_metric_has_the_mean_and_each_class(place):
    config = find_config(str(CONFIG))
    assert default_metrics(config, []) == METRICS
    assert default_metrics(config, ["classes=car,truck,tram"]) == (
        "drivemim/mAP50", "drivemim/car_AP50", "drivemim/truck_AP50", "drivemim/tram_AP50",
    )  # fmt: skip


def test_a_study_of_own_classes(place, make_study):
    """Only the cars are objects, and the evaluation has their metric."""
    study = make_study(
        options=("classes=['car']",), metrics=("drivemim/mAP50", "drivemim/car_AP50")
    )
    assert prepare_inputs(study, place).counts[1.0, 0] == LabelCount(frames=20, boxes=20)
