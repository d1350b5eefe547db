"""The strides of heads are compared with those of their feature maps."""

from types import SimpleNamespace

import pytest
import torch
from agreement_parts import build, message

from drivemim.training.agreement import (
    check_strides,
)


@pytest.mark.parametrize(
    ("path", "options", "given", "levels"),
    [
        (
            "detection/retinanet_vit_base_nuscenes.py",
            {"model.bbox_head.anchor_generator.strides": [4, 8, 16, 32, 64]},
            "bbox_head.anchor_generator.strides=[4, 8, 16, 32, 64]",
            "[8, 16, 32, 64, 128]",
        ),
        (
            "detection/faster_rcnn_vit_base_nuscenes.py",
            {"model.roi_head.bbox_roi_extractor.featmap_strides": [8, 16, 32, 64]},
            "roi_head.bbox_roi_extractor.featmap_strides=[8, 16, 32, 64]",
            "[4, 8, 16, 32]",
        ),
        (
            "detection/fcos_vit_base_nuscenes.py",
            {"model.backbone.patch_size": 8},  # halves the strides of the pyramid
            "bbox_head.strides=[8, 16, 32, 64]",
            "[4, 8, 16, 32]",
        ),
        (
            "detection3d/fcos3d_vit_base_nuscenes.py",
            {"model.bbox_head.strides": [4, 8, 16, 32]},
            "bbox_head.strides=[4, 8, 16, 32]",
            "[8, 16, 32, 64]",
        ),
    ],
)
def test_strides_that_the_feature_maps_do_not_have_are_refused(path, options, given, levels):
    found = message(check_strides, build(path, **options))
    assert f"model.{given}, but" in found
    assert found.endswith(f"set it to {levels}")


def test_a_model_whose_maps_cannot_be_computed_is_not_refused():
    class Failing(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.bbox_head = torch.nn.Linear(1, 1)
            self.bbox_head.prior_generator = SimpleNamespace(strides=[8])

        def extract_feat(self, images):
            raise RuntimeError("takes 224 pixels")

    check_strides(Failing())


class Maps(torch.nn.Module):
    """Model with feature maps of strides 4 and 8 and with these heads.

    Args:
        heads: attributes of the head at a path, whose parts are joined by "__".
    """

    def __init__(self, **heads):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(1))
        for path, attributes in heads.items():
            module = self
            for part in path.split("__"):
                if not hasattr(module, part):
                    module.add_module(part, torch.nn.Module())
                module = getattr(module, part)
            vars(module).update(attributes)

    def extract_feat(self, images):
        return [images[..., ::stride, ::stride] for stride in (4, 8)]


def test_the_stride_of_a_semantic_branch_is_not_compared_with_the_neck():
    """HTC fuses all levels of the neck to one map of stride 8 for its semantic features."""
    check_strides(Maps(roi_head__semantic_roi_extractor={"featmap_strides": [8]}))
    found = message(check_strides, Maps(roi_head__bbox_roi_extractor={"featmap_strides": [8]}))
    assert "model.roi_head.bbox_roi_extractor.featmap_strides=[8], but" in found


@pytest.mark.parametrize("name", ["approx_anchor_generator", "square_anchor_generator"])
def test_guided_anchors_and_stages_of_proposals_have_strides_too(name):
    right, wrong = (
        {name: SimpleNamespace(strides=strides, base_sizes=[1, 1])}
        for strides in ([(4, 4), (8, 8)], [(8, 8), (16, 16)])
    )
    check_strides(Maps(bbox_head=right, rpn_head=right))
    found = message(check_strides, Maps(rpn_head=wrong))
    assert f"model.rpn_head.{name}.strides=[8, 16], but" in found
    assert found.endswith("set it to [4, 8]")
    stage = {"prior_generator": SimpleNamespace(strides=[8, 16], base_sizes=[1, 1])}
    found = message(check_strides, Maps(rpn_head__stages__1=stage))
    assert "model.rpn_head.stages.1.anchor_generator.strides=[8, 16], but" in found


def test_strides_that_are_not_whole_numbers_are_not_compared():
    """YOLACT's strides are 550 divided by the sides of the maps of an image of 550 pixels."""
    strides = [550 / 138, 550 / 69]
    check_strides(Maps(bbox_head={"prior_generator": SimpleNamespace(strides=strides)}))
    found = message(
        check_strides, Maps(bbox_head={"prior_generator": SimpleNamespace(strides=[4.0, 16.0])})
    )
    assert "model.bbox_head.strides=[4, 16], but" in found
