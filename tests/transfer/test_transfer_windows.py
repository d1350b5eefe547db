"""Verification of a backbone, pretrained without windows, in a detector with windows."""

import pytest
from mmengine.registry import DefaultScope

from drivemim.errors import CheckpointError
from drivemim.training.run import train
from drivemim.transfer.exporting import export_backbone, load_export, read_export


@pytest.fixture(scope="module")
def export(repository, tmp_path_factory):
    folder = tmp_path_factory.mktemp("run")
    train(repository / "tests" / "toys" / "configs" / "vit.py", work_dir=folder)
    export_backbone(folder / "iter_2.pth", folder / "vit.safetensors")
    return folder / "vit.safetensors"


def detector(architecture, normalization):
    from mmdet.registry import MODELS

    neck = {"type": "drivemim.SimpleFeaturePyramid", "in_channels": 16, "out_channels": 8}
    with DefaultScope.overwrite_default_scope("mmdet"):
        return MODELS.build({
            "type": "RetinaNet",
            "data_preprocessor": {"type": "DetDataPreprocessor", **normalization},
            "backbone": {**architecture, "type": "drivemim.ViT", "window_size": 3,
                         "global_blocks": 1},
            "neck": neck,
            "bbox_head": {"type": "RetinaHead", "num_classes": 2, "in_channels": 8},
        })  # fmt: skip


def test_windows_do_not_hide_a_wrong_normalisation(export):
    _, metadata = read_export(export)
    right = metadata["normalization"]
    model = detector(metadata["architecture"], right)
    assert "features equal the pretrainer's" in load_export(model, export)
    assert model.backbone.window_size == 3, "as the config says, after the comparison"
    wrong = detector(metadata["architecture"], {**right, "bgr_to_rgb": False})
    with pytest.raises(CheckpointError, match="features are not the pretrainer's"):
        load_export(wrong, export)
