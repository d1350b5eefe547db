"""A small export, and a small detector config of a user that it fits."""

import pytest
from detector_configs import MEAN, STD, export


@pytest.fixture(scope="module")
def small(repository, tmp_path_factory):
    folder = tmp_path_factory.mktemp("r18")
    return export(repository, folder, "resnet18", {"depth": 18, "base_channels": 8})


@pytest.fixture
def theirs(tmp_path):
    """Return a function that writes a small detector config and returns its path."""

    def write(more="", backbone="", preprocessor="bgr_to_rgb=True", depth=18):
        path = tmp_path / "mine" / "theirs.py"
        path.parent.mkdir(exist_ok=True)
        path.write_text(f"""
default_scope = 'mmdet'
model = dict(
    type='RetinaNet',
    data_preprocessor=dict(type='DetDataPreprocessor', mean={MEAN}, std={STD}, {preprocessor}),
    backbone=dict(type='ResNet', depth={depth}, base_channels=8, frozen_stages=1, {backbone}),
    neck=dict(type='FPN', in_channels=[8, 16, 32, 64], out_channels=8, num_outs=5),
    bbox_head=dict(type='RetinaHead', num_classes=2, in_channels=8, feat_channels=8,
                   stacked_convs=1))
{more}
""")
        return path

    return write
