"""The options of docs/guides/detectors.md, applied to the configs."""

import re
import shlex

import pytest
import torch
from mmengine.optim import build_optim_wrapper
from mmengine.registry import MODELS, init_default_scope
from shipped_configs import CONFIGS, REPOSITORY

from drivemim.config.loading import load_config
from drivemim.data.class_lists import category_labels
from drivemim.data.classes import DETECTION_CLASSES
from studies.label_efficiency.inputs import parse_options

GUIDE = (REPOSITORY / "docs" / "guides" / "detectors.md").read_text()


def recipes():
    """Every row of the guide's table of recipes that has options: its name and the options."""
    table = GUIDE.partition("| recipe | options |")[2].partition("\n\n")[0]
    rows = [row.split(" | ")[:2] for row in table.splitlines()]
    found = {row[0].strip("| "): re.match(r"`([^`]+=[^`]+)`", row[1]) for row in rows if row[1:]}
    return {
        recipe: parse_options(options[1].split()) for recipe, options in found.items() if options
    }


def test_the_guide_has_these_recipes():
    assert list(recipes()) == [
        "layer-wise decay, ViT", "layer-wise decay, ResNet", "frozen, ResNet", "frozen, ViT",
        "ResNet-18",
    ]  # fmt: skip


@pytest.mark.parametrize("recipe", recipes())
@pytest.mark.parametrize("detector", ["retinanet", "faster_rcnn"])
def test_the_guides_recipes_have_the_described_effect(detector, recipe):
    kind = "resnet50" if "ResNet" in recipe else "vit_base"
    path = CONFIGS / "detection" / f"{detector}_{kind}_nuscenes.py"
    config = load_config(path, recipes()[recipe])
    init_default_scope("mmdet")
    with torch.device("meta"):
        model = MODELS.build(config.model).train()
    learned = [each for each in model.backbone.parameters() if each.requires_grad]
    assert bool(learned) == ("frozen" not in recipe)
    assert all(each.requires_grad for each in model.neck.parameters())
    statistics = [
        each for each in model.backbone.modules() if isinstance(each, torch.nn.BatchNorm2d)
    ]
    assert all(each.training == ("frozen" not in recipe) for each in statistics)
    if "frozen, ViT" in recipe:
        assert config.model.backbone.window_size is None
    if "decay" in recipe:
        groups = build_optim_wrapper(model, config.optim_wrapper).param_groups
        rates = sorted({group["lr"] / config.optim_wrapper.optimizer.lr for group in groups})
        rate = recipes()[recipe]["optim_wrapper.paramwise_cfg.decay_rate"]
        # A stem and four stages; an embedding, twelve blocks and a norm. The last has all of it.
        assert rates[-3:] == pytest.approx([rate**2, rate, 1.0])
        assert len(rates) == (5 if kind == "resnet50" else 14)
    if recipe == "ResNet-18":
        assert model.backbone.depth == 18


OWN = GUIDE.partition("## Your own classes")[2].partition("\n## ")[0]


def test_the_guides_commands_set_the_classes():
    """The commands of the section, split as a shell does, and read as the tools do."""
    commands = re.findall(r"^    (python .*)", OWN.replace("\\\n", " "), re.MULTILINE)
    parts = [shlex.split(each) for each in commands]
    found = [
        load_config(REPOSITORY / each[2], parse_options(each[each.index("--cfg-options") + 1 :]))
        for each in parts
    ]
    assert [each.model.bbox_head.num_classes for each in found] == [10, 4]
    assert found[0].val_dataloader.dataset.classes == DETECTION_CLASSES
    assert found[1].val_dataloader.dataset.classes == ("car", "truck", "pedestrian", "cyclist")
    labels = category_labels(
        ["vehicle.bicycle", "vehicle.car", "vehicle.bus.rigid", "human.pedestrian.wheelchair"],
        found[1].train_dataloader.dataset.dataset.classes,
        found[1].train_dataloader.dataset.dataset.class_map,
    )
    assert labels.tolist() == [3, 0, -1, 2]


def test_the_guides_config_sets_the_classes(tmp_path):
    (code,) = re.findall(r"```python\n(.*?)```", OWN, re.DOTALL)
    assert 'fcos_vit_base_nuscenes.py"' in code
    folder = CONFIGS / "detection"
    (tmp_path / "mine.py").write_text(code.replace('"fcos_', f'"{folder}/fcos_'))
    config = load_config(tmp_path / "mine.py")
    assert config.model.bbox_head.num_classes == 5
    dataset = config.train_dataloader.dataset.dataset
    names = ["person", "bus", "van", "traffic light", "tram", "truck", "rider"]
    labels = category_labels(names, dataset.classes, dataset.class_map)
    assert labels.tolist() == [2, 1, -1, 3, 4, 1, -1]
