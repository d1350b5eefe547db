"""One place of a config sets the classes of its data sets and the sizes of its heads."""

import argparse

import pytest
from mmengine.config import Config
from shipped_configs import CONFIGS, runnable

from drivemim.config.class_options import split_options, written_settings
from drivemim.config.loading import add_config_options, load_config, read_config
from drivemim.config.nested import walk
from drivemim.data.class_lists import class_names
from drivemim.data.classes import DETECTION_CLASSES
from drivemim.errors import ConfigError

TOWN = CONFIGS / "detection" / "atss_vit_micro_town.py"
THREE = ("tram", "car", "pedestrian")


def _all(config):
    """Every value of the loaders and the model with its key."""
    roots = ("train_dataloader", "val_dataloader", "test_dataloader", "model")
    return [pair for root in roots for pair in walk(config.get(root), root)]


def values(config, name):
    found = [value for key, value in _all(config) if key.endswith(f".{name}")]
    return [tuple(each) if isinstance(each, list) else each for each in found]


@pytest.mark.parametrize("path", runnable("detection"), ids=lambda path: path.stem)
def test_one_option_is_enough_for_every_detector(path):
    before = load_config(path)
    assert set(values(before, "num_classes")) <= {1, 2}
    config = load_config(path, {"classes": list(THREE)})
    heads = values(config, "num_classes")
    assert len(heads) >= 1
    assert set(heads) == {3}
    assert values(config, "classes") == [THREE] * len(values(before, "index"))


def test_a_preset_and_coco_files():
    masks = CONFIGS / "instances" / "mask_rcnn_resnet50_nuimages.py"
    config = load_config(masks, {"classes": ["car", "bus"]})
    assert values(config, "num_classes") == [2, 2]
    loaders = [config.train_dataloader.dataset.dataset, config.val_dataloader.dataset]
    assert [each.metainfo.classes for each in loaders] == [("car", "bus")] * 2
    pretraining = load_config(
        CONFIGS / "pretrain" / "vit_base_object_nuscenes.py", {"classes": "nuscenes"}
    )
    assert pretraining.train_dataloader.dataset.classes == DETECTION_CLASSES


def test_a_3d_head_keeps_the_rows_of_its_classes():
    config = load_config(
        CONFIGS / "detection3d" / "fcos3d_resnet50_nuscenes.py",
        {"classes": ["pedestrian", "barrier", "car"]},
    )
    head = config.model.bbox_head
    assert head.num_classes == 3
    assert head.bbox_coder.class_sizes == [[0.7, 0.7, 1.75], [2.4, 0.5, 1.0], [1.9, 4.6, 1.7]]
    assert head.class_attributes == [[2, 3, 4], [], [5, 6, 7]]
    with pytest.raises(ConfigError, match="class_attributes has no row for 'tram', only for car"):
        load_config(CONFIGS / "detection3d" / "fcos3d_resnet50_nuscenes.py", {"classes": ["tram"]})


def test_a_class_map_is_for_all_data_sets_and_categories_may_have_dots():
    options = {"classes": list(THREE), "class_map.vehicle.bus.rigid": "tram", "class_map.van": None}
    assert split_options({**options, "train_cfg.max_iters": 3}) == (
        {"classes": list(THREE), "class_map": {"vehicle.bus.rigid": "tram", "van": None}},
        {"train_cfg.max_iters": 3},
    )
    for config in load_config(TOWN, options), read_config(TOWN, options):
        maps = [config[f"{name}_dataloader"].dataset for name in ("val", "test")]
        maps = [each.class_map for each in (config.train_dataloader.dataset.dataset, *maps)]
        assert maps == [{"vehicle.bus.rigid": "tram", "van": None}] * 3


def test_what_is_nearer_wins(tmp_path):
    file = tmp_path / "mine.py"
    file.write_text(
        f"_base_ = {str(TOWN)!r}\n"
        "classes = ('tram', 'car', 'pedestrian')\n"
        "class_map = {'van': 'car', 'bus': 'tram'}\n"
        "val_dataloader = dict(dataset=dict(class_map={'van': None}))\n"
    )
    config = load_config(file)
    assert config.model.bbox_head.num_classes == 3
    assert config.train_dataloader.dataset.dataset.classes == THREE
    assert config.val_dataloader.dataset.class_map == {"van": None, "bus": "tram"}
    # Options replace what the file says, and a key of one place what is said for all.
    config = load_config(
        file, {"classes": ["car"], "class_map.van": "car", "model.bbox_head.num_classes": 7}
    )
    assert config.val_dataloader.dataset.class_map == {"van": "car", "bus": "tram"}
    assert config.val_dataloader.dataset.classes == ("car",)
    assert config.model.bbox_head.num_classes == 7
    # A config that inherits this one can have other classes.
    child = tmp_path / "child.py"
    child.write_text("_base_ = './mine.py'\nclasses = ('tram', 'car')\n")
    assert load_config(child).model.bbox_head.num_classes == 2


def test_mistakes_are_named(tmp_path):
    with pytest.raises(ConfigError, match="'nuscene' is not a preset .*did you mean 'nuscenes'"):
        load_config(TOWN, {"classes": "nuscene"})
    plain = tmp_path / "plain.py"
    plain.write_text("train_dataloader = dict(dataset=dict(type='Other'))\n")
    with pytest.raises(
        ConfigError, match=r"--cfg-options classes: no data set of .*plain.py reads"
    ):
        load_config(plain, {"classes": ["car"]})
    with pytest.raises(ConfigError, match="--cfg-options class_map: no data set of .* reads it"):
        load_config(
            CONFIGS / "instances" / "mask_rcnn_resnet50_nuimages.py", {"class_map.car": "bus"}
        )
    plain.write_text("class_map = dict(car='bus')\n")
    with pytest.raises(ConfigError, match="nothing reads the key 'class_map'"):
        load_config(plain)


def test_a_file_is_changed_where_its_classes_say(tmp_path):
    cascade = CONFIGS / "detection" / "cascade_rcnn_resnet50_nuscenes.py"
    file = tmp_path / "mine.py"
    file.write_text(f"_base_ = {str(cascade)!r}\nclasses = ('tram', 'car', 'bus')\n")
    found = written_settings(read_config(cascade))
    assert found == {}
    found = written_settings(Config.fromfile(str(file)))
    names = ("tram", "car", "bus")
    heads = found.pop("model.roi_head.bbox_head")
    assert [head["num_classes"] for head in heads] == [3, 3, 3]
    assert found == {
        "train_dataloader.dataset.dataset.classes": names,
        "val_dataloader.dataset.classes": names,
        "test_dataloader.dataset.classes": names,
    }


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("nuscenes", DETECTION_CLASSES),
        ("car,traffic light", ("car", "traffic light")),
        ("['car', 'traffic light']", ("car", "traffic light")),
        ("(car,)", ("car",)),
        ("car,", ("car",)),
        ("[car]", ("car",)),
        ("car/van,bus", ("car/van", "bus")),
    ],
)
def test_names_on_a_command_line_may_have_spaces(text, names):
    parser = argparse.ArgumentParser()
    add_config_options(parser)
    args = parser.parse_args(["--cfg-options", f"classes={text}", "class_map.a b=car"])
    chosen, others = split_options(args.cfg_options)
    assert class_names(chosen["classes"]) == names
    assert (chosen["class_map"], others) == ({"a b": "car"}, {})
