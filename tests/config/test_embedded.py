"""The config inside a checkpoint is read as values; neither its lines nor its types run."""

import pytest
from mmengine.config import Config
from shipped_configs import runnable

from drivemim.config.embedded import embedded_config
from drivemim.errors import CheckpointError
from drivemim.transfer.exporting import export_backbone
from drivemim.trust import VARIABLE

MODEL = "model = dict(type='MaskedPretrainer', encoder=dict(type='ViT', arch='tiny'))\n"


def test_a_dumped_config_is_read_as_it_was(repository):
    config = Config.fromfile(repository / "configs" / "pretrain" / "resnet50_object_nuscenes.py")
    config.limits = {"low": -1.5, "pair": (1, -2), 3: [None, True], "names": {"a", "b"}}
    found = embedded_config(config.pretty_text, "iter_4.pth")
    assert found.to_dict() == Config.fromstring(config.pretty_text, ".py").to_dict()
    assert found.limits["pair"] == (1, -2)


@pytest.mark.parametrize(
    ("line", "named"),
    [
        ("import os", "line 2: import os"),
        ("x = open('{marker}', 'w')", r"line 2: open\("),
        ("open('{marker}', 'w')", r"line 2: open\("),
        ("x = dict(a=dict(b=[open('{marker}', 'w')]))", r"line 2: open\("),
        ("x = [open('{marker}', 'w') for _ in range(2)]", r"line 2: \[open"),
        ("x = dict(**open('{marker}', 'w'))", "line 2: dict"),
        ("x = {{**open('{marker}', 'w')}}", r"line 2: \{\*\*open"),
        ("x = dict({{'a': 1, **dict(b=2)}})", r"line 2: \{'a': 1, \*\*"),
        ("x, y = 1, 2", "line 2: x, y"),
        ("x = ", "invalid syntax"),
    ],
)
def test_lines_other_than_values_are_refused(tmp_path, line, named):
    marker = tmp_path / "marker"
    with pytest.raises(CheckpointError, match=f"config inside is more than values .*{named}"):
        embedded_config(MODEL + line.format(marker=marker), tmp_path / "x.pth")
    assert not marker.exists()


@pytest.mark.parametrize(
    "kind",
    ["os.system", "mmengine.fileio.load", "mmengine.Config", "this", "subprocess", "mmdet.apis",
     "mmdet.GLIP", "mmdet.KnowledgeDistillationSingleStageDetector", "mmdet.nothing"],
)  # fmt: skip
@pytest.mark.parametrize("place", ["{}", "dict(type='drivemim.ViT', arch='tiny', init_cfg={})",
                                   "[[{}]]"])  # fmt: skip
def test_types_other_than_parts_of_a_pretrainer_are_refused(kind, place):
    inner = place.format(f"dict(type='{kind}', command='true')")
    with pytest.raises(CheckpointError, match=f"has type='{kind}', which is not a registered"):
        embedded_config(f"model = dict(type='MaskedPretrainer', encoder={inner})", "x.pth")


def test_parts_of_pretrainers_are_known():
    for path in runnable("pretrain"):
        embedded_config(Config.fromfile(path).pretty_text, path)


def test_earlier_names_of_masks_are_known():
    text = "model = dict(encoder=dict(type='ViT'), masking=dict(type='LargeCellMask', ratio=0.75))"
    found = embedded_config(text, "iter_4.pth")
    assert found.model.masking == {"type": "LargeCellMask", "ratio": 0.75}


def test_exporting_runs_nothing_of_a_checkpoint(tmp_path, monkeypatch):
    import torch

    marker, path = tmp_path / "marker", tmp_path / "x.pth"
    line = f"x = print(file=open({str(marker)!r}, 'w'))\n"
    called = f"model = dict(type='os.system', command='touch {marker}', encoder=1)"
    for config in (MODEL + line, called):
        torch.save({"state_dict": {}, "meta": {"cfg": config}}, path)
        with pytest.raises(CheckpointError, match="Give the run's own config with --config"):
            export_backbone(path, tmp_path / "out.safetensors")
        assert not marker.exists()
    torch.save({"state_dict": {}, "meta": {"cfg": line}}, path)
    monkeypatch.setenv(VARIABLE, str(path))
    with pytest.raises(CheckpointError, match="is not of a pretraining run"):
        export_backbone(path, tmp_path / "out.safetensors")
    assert marker.exists()
