"""Configs that start from an exported backbone: MMDetection's own, and broken ones."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from detector_configs import MEAN, STD, build, export
from mmengine.config import Config

from drivemim.config.loading import load_config
from drivemim.errors import CheckpointError, ConfigError
from drivemim.transfer.detector_config import write_detector_config
from drivemim.transfer.exporting import read_export
from drivemim.transfer.feature_check import fixed_image

SHIPPED = [
    "retinanet/retinanet_r50_fpn_1x_coco.py",
    "fcos/fcos_r50-caffe_fpn_gn-head_1x_coco.py",
    "faster_rcnn/faster-rcnn_r50_fpn_1x_coco.py",
    "mask_rcnn/mask-rcnn_r50-caffe_fpn_1x_coco.py",
    "cascade_rcnn/cascade-rcnn_r50_fpn_1x_coco.py",
    "deformable_detr/deformable-detr_r50_16xb2-50e_coco.py",
    "dino/dino-4scale_r50_8xb2-12e_coco.py",
    "atss/atss_r50_fpn_1x_coco.py",
    "gfl/gfl_r50_fpn_1x_coco.py",
    "tood/tood_r50_fpn_1x_coco.py",
]


@pytest.fixture(scope="module")
def resnet50(repository, tmp_path_factory):
    return export(repository, tmp_path_factory.mktemp("r50"), "resnet50", {"depth": 50})


@pytest.mark.parametrize(
    ("name", "plain"),
    [*((name, False) for name in SHIPPED), (SHIPPED[0], True), (SHIPPED[6], True)],
)
def test_shipped_configs_start_from_the_export(resnet50, tmp_path, name, plain):
    base = f"mmdet::{name}"
    found = write_detector_config(base, resnet50, out=tmp_path / "small.py", plain=plain)
    # 53 convolutions, 53 normalisations with five tensors each.
    assert sum(stage.tensors for stage in found.stages) == 53 * 6
    assert all(stage.tensors == stage.matched for stage in found.stages)
    assert [stage.name for stage in found.stages] == [
        "conv1", "bn1", "layer1", "layer2", "layer3", "layer4"
    ]  # fmt: skip
    assert found.report.endswith("features equal the pretrainer's")
    assert (tmp_path / "small.py").read_text() == found.text
    assert len(found.text.splitlines()) < 30

    cfg = load_config(tmp_path / "small.py")  # as tools/train.py reads it
    (tmp_path / "unchanged.py").write_text(f"_base_ = {base!r}")
    original = Config.fromfile(tmp_path / "unchanged.py")
    wanted = {"mean": MEAN, "std": STD, "bgr_to_rgb": True}
    assert {key: cfg.model.data_preprocessor[key] for key in wanted} == wanted
    changed = {"frozen_stages", "init_cfg", "style"}
    for key, value in original.model.backbone.items():
        assert key in changed or cfg.model.backbone[key] == value, key
    assert cfg.model.backbone.style == "pytorch"
    assert cfg.model.backbone.frozen_stages == -1
    settings = {"model", "custom_hooks", "custom_imports"}
    assert {key for key in cfg if cfg[key] != original.get(key)} <= settings
    parts = {key for key in cfg.model if cfg.model[key] != original.model.get(key)}
    assert parts - {"data_preprocessor"} == {"backbone"}
    hooks = [dict(hook) for hook in cfg.get("custom_hooks", [])]
    if plain:
        assert "drivemim" not in found.text
        init = dict(cfg.model.backbone.init_cfg)
        assert Path(init.pop("checkpoint")).resolve() == resnet50.with_suffix(".pth")
        assert init == {"type": "Pretrained"}
    else:
        assert cfg.model.backbone.init_cfg is None
        assert Path(hooks[-1].pop("checkpoint")).resolve() == resnet50
        assert hooks[-1] == {"type": "drivemim.LoadBackbone"}


PLAIN = """
import json, sys
import torch
from mmengine.config import Config
from mmengine.registry import init_default_scope
from mmdet.registry import MODELS
config, image, out = sys.argv[1:]
cfg = Config.fromfile(config)
init_default_scope('mmdet')
model = MODELS.build(cfg.model)
model.init_weights()
model.eval()
batch = dict(inputs=[torch.load(image)], data_samples=None)
size = batch['inputs'][0].shape[1:]
with torch.no_grad():
    images = model.data_preprocessor(batch, False)['inputs'][..., :size[0], :size[1]]
    maps = model.backbone(images)
torch.save(dict(state=model.backbone.state_dict(), maps=list(maps)), out)
print(json.dumps(sorted(name for name in sys.modules if name.startswith('drivemim'))))
"""


def test_a_config_of_drivemim_is_found_by_its_name(resnet50, tmp_path):
    out = tmp_path / "small.py"
    found = write_detector_config("faster_rcnn_resnet50_nuscenes", resnet50, out=out)
    assert "faster_rcnn_resnet50_nuscenes.py" in found.text
    assert load_config(out).model.type == "FasterRCNN"


def test_plain_config_needs_nothing_of_drivemim(resnet50, tmp_path):
    write_detector_config(f"mmdet::{SHIPPED[1]}", resnet50, out=tmp_path / "small.py", plain=True)
    torch.save(fixed_image((64, 96)).permute(2, 0, 1).contiguous(), tmp_path / "image.pt")
    arguments = [tmp_path / "small.py", tmp_path / "image.pt", tmp_path / "out.pt"]
    finished = subprocess.run(
        [sys.executable, "-c", PLAIN, *map(str, arguments)],
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert finished.returncode == 0, finished.stderr[-3000:]
    assert json.loads(finished.stdout.splitlines()[-1]) == []
    found = torch.load(tmp_path / "out.pt")
    state, metadata = read_export(resnet50)
    assert set(found["state"]) == set(state)
    assert all(torch.equal(found["state"][name], state[name]) for name in state)
    for features, entry in zip(found["maps"], metadata["fingerprint"], strict=True):
        assert list(features.shape[1:]) == entry["shape"]
        means = torch.tensor(entry["means"])
        tolerance = 1e-3 * entry["rms"]
        torch.testing.assert_close(features.mean(dim=(0, 2, 3)), means, rtol=0, atol=tolerance)


@pytest.mark.parametrize(
    ("name", "words"),
    [
        (
            "retinanet/retinanet_r101_fpn_1x_coco.py",
            # 17 blocks more in layer3, three convolutions and normalisations each.
            ["missing 306 (layer3.6.conv1.weight", "depth is 50, here 101",
             "Take a config whose backbone is ResNet(depth=50), or pretrain ResNet(depth=101)"],
        ),
        (
            "swin/mask-rcnn_swin-t-p4-w7_fpn_1x_coco.py",
            ["missing 189", "unexpected 318", "type is ResNet, here SwinTransformer",
             "DriveMIM does not pretrain SwinTransformer"],
        ),
        (
            "dcn/faster-rcnn_r50-dconv-c3-c5_fpn_1x_coco.py",
            ["missing 26 (layer2.0.conv2.conv_offset.weight", "dcn is None, here {'type': 'DCN'"],
        ),
        (
            "faster_rcnn/faster-rcnn_r50-caffe-dc5_1x_coco.py",  # the same names and shapes
            ["level 3 has shape (2048, 4, 6), not (2048, 2, 3)", "strides is (1, 2, 2, 2)"],
        ),
    ],
)  # fmt: skip
def test_other_backbones_are_refused_with_the_list(resnet50, tmp_path, name, words):
    with pytest.raises(CheckpointError) as error:
        write_detector_config(f"mmdet::{name}", resnet50, out=tmp_path / "small.py")
    assert [word for word in words if word not in str(error.value)] == []
    assert not list(tmp_path.iterdir())


def test_own_config_keeps_its_hooks_and_imports(small, theirs, tmp_path):
    more = """
custom_imports = dict(imports=['json'], allow_failed_imports=False)
custom_hooks = [dict(type='EMAHook', momentum=0.1)]
load_from = 'https://example.com/detector.pth'
"""
    path = theirs(more, "init_cfg=[dict(type='Kaiming', layer='Conv2d')], pretrained=None")
    out = tmp_path / "elsewhere" / "small.py"
    write_detector_config(str(path), small, out=out)
    assert "_base_ = '../mine/theirs.py'" in out.read_text()
    cfg, model = build(out)
    assert cfg.custom_imports == {
        "imports": ["json", "drivemim.training"], "allow_failed_imports": False
    }  # fmt: skip
    assert [hook.type for hook in cfg.custom_hooks] == ["EMAHook", "drivemim.LoadBackbone"]
    assert cfg.load_from is None
    assert all(value.requires_grad for value in model.backbone.parameters())
    write_detector_config(str(path), small, out=out, plain=True)
    cfg, model = build(out)
    model.init_weights()
    state = read_export(small)[0]
    assert all(torch.equal(model.backbone.state_dict()[name], state[name]) for name in state)
    assert [hook.type for hook in cfg.custom_hooks] == ["EMAHook"]


@pytest.mark.parametrize("plain", [False, True])
def test_inherited_none_and_tuples_are_replaced(small, theirs, tmp_path, plain):
    more = "custom_imports = None\ncustom_hooks = (dict(type='EMAHook'),)"
    path, out = theirs(more, "init_cfg=None"), tmp_path / "small.py"
    write_detector_config(str(path), small, out=out, plain=plain)
    cfg, model = build(out)
    ours = [] if plain else ["drivemim.LoadBackbone"]
    assert [hook.type for hook in cfg.custom_hooks] == ["EMAHook", *ours]
    if plain:
        model.init_weights()
        state = read_export(small)[0]
        assert all(torch.equal(model.backbone.state_dict()[name], state[name]) for name in state)


@pytest.mark.parametrize("plain", [False, True])
def test_a_hook_that_loads_another_export_is_left_out(small, theirs, tmp_path, plain):
    first, second = tmp_path / "first.py", tmp_path / "second.py"
    more = "custom_hooks = [dict(type='EMAHook')]"
    write_detector_config(str(theirs(more)), small, out=first)
    other = tmp_path / "other.safetensors"
    for suffix in (".safetensors", ".pth"):
        other.with_suffix(suffix).write_bytes(small.with_suffix(suffix).read_bytes())
    write_detector_config(str(first), other, out=second, plain=plain)
    hooks = build(second)[0].custom_hooks
    assert hooks[0] == {"type": "EMAHook"}
    found = [Path(hook.checkpoint).resolve() for hook in hooks[1:]]
    assert found == ([] if plain else [other])


def test_synchronised_norm_layers_are_supported(small, theirs, tmp_path):
    path = theirs("model['neck']['norm_cfg'] = dict(type='MMSyncBN')")
    write_detector_config(str(path), small, out=tmp_path / "small.py")
    assert Config.fromfile(tmp_path / "small.py").model.neck.norm_cfg.type == "MMSyncBN"


def test_the_error_names_cause_and_fix_and_then_counts_the_mismatched_tensors(small, theirs):
    with pytest.raises(CheckpointError) as error:
        write_detector_config(str(theirs(depth=34)), small)
    message, _, tensors = str(error.value).partition(". Tensors: ")
    assert "depth is 18, here 34. Take a config whose backbone is ResNet(depth=18" in message
    # 8 blocks more, of two convolutions and two normalisations of five tensors each.
    assert tensors.startswith("missing 96 (layer1.2.conv1.weight, layer1.2.bn1.weight, ")
    assert " and 91 more); all names are in " in tensors


def test_a_norm_that_cannot_be_pretrained_is_not_advised(small, theirs):
    group_norm = "norm_cfg=dict(type='GN', num_groups=4)"
    with pytest.raises(CheckpointError) as error:
        write_detector_config(str(theirs(backbone=group_norm)), small)
    assert "or pretrain" not in str(error.value)


def test_a_frozen_backbone_stays_frozen(small, theirs, tmp_path):
    path = theirs(more="model['backbone']['frozen_stages'] = 4")
    write_detector_config(str(path), small, out=tmp_path / "small.py")
    model = build(tmp_path / "small.py")[1]
    assert not any(value.requires_grad for value in model.backbone.parameters())


@pytest.mark.parametrize(
    ("change", "line"),
    [
        ({"preprocessor": "rgb_to_bgr=True"}, "make the pipeline load BGR"),
        ({"more": "train_dataloader = dict(dataset=dict(pipeline=[dict(type='Normalize')]))"},
         "pipeline of train_dataloader normalises images"),
        ({"more": "model = dict(type='SoftTeacher', detector=model)"},
         "it has model.detector.backbone"),
        ({"more": "model.pop('data_preprocessor')"}, "no model.data_preprocessor"),
        ({"more": "model['bbox_head']['chanels'] = 3"}, "RetinaHead has no argument 'chanels'"),
        ({"more": "import torch"}, "is a pure Python config"),
        ({"more": "x = unknown"}, "cannot be read: NameError: name 'unknown' is not defined"),
        ({"more": "= 3"}, "cannot be read: SyntaxError: line "),
        ({"more": "model['neck']['in_channels'] = 8"}, "FPN cannot be built: AssertionError in "),
        ({"more": "custom_imports = dict(imports='gone')"}, "cannot be read: ImportError: "),
    ],
)  # fmt: skip
def test_configs_that_cannot_be_adapted_are_refused(small, theirs, tmp_path, change, line):
    with pytest.raises(ConfigError, match=line):
        write_detector_config(str(theirs(**change)), small, out=tmp_path / "small.py")
    assert not (tmp_path / "small.py").exists()


def test_no_other_backbone_is_loaded_after_the_export(small, theirs, tmp_path):
    """``tools/train.py`` loads ``backbone_checkpoint`` after the hooks that a config lists."""
    out = tmp_path / "small.py"
    write_detector_config(
        str(theirs(more="backbone_checkpoint = 'other.safetensors'")), small, out=out
    )
    assert load_config(out).backbone_checkpoint is None


def test_no_other_weights_are_loaded_instead(small, theirs, tmp_path):
    whole = "model['init_cfg'] = dict(type='Pretrained', checkpoint='detector.pth')"
    path = theirs(more=whole, backbone="pretrained='torchvision://resnet18'")
    write_detector_config(str(path), small, out=tmp_path / "small.py")
    model = load_config(tmp_path / "small.py").model
    assert model.init_cfg is None
    assert model.backbone.pretrained is None


def test_classes_of_the_config_are_written_for_mmdetections_own_tools(small, theirs, tmp_path):
    """A variable sets three classes; the written config has them at the keys MMEngine reads."""
    dataset = "dict(type='drivemim.FrameDetection', index='none.arrow', filters=dict())"
    more = "classes = ('car', 'tram', 'bus')\n" + "".join(
        f"{name}_dataloader = dict(dataset={dataset})\n" for name in ("train", "val")
    )
    write_detector_config(str(theirs(more)), small, out=tmp_path / "small.py")
    for cfg in Config.fromfile(tmp_path / "small.py"), load_config(tmp_path / "small.py"):
        assert cfg.model.bbox_head.num_classes == 3
        for name in ("train", "val"):
            assert cfg[f"{name}_dataloader"].dataset.classes == ("car", "tram", "bus")
    assert "the config's classes" in (tmp_path / "small.py").read_text()
