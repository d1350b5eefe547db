from dataclasses import replace

import pytest
import torch

from drivemim.clips import Clips
from drivemim.models import ClipPreprocessor

STATISTICS = dict(mean=[123.675, 116.28, 103.53], std=[58.395, 57.12, 57.375])


@pytest.mark.parametrize("bgr_to_rgb", [True, False])
def test_same_numbers_as_mmdetections_preprocessor(clips: Clips, bgr_to_rgb: bool) -> None:
    from mmdet.models import DetDataPreprocessor

    ours = ClipPreprocessor(**STATISTICS, bgr_to_rgb=bgr_to_rgb)
    theirs = DetDataPreprocessor(**STATISTICS, bgr_to_rgb=bgr_to_rgb)
    images = clips.images_BTNHWC
    inputs = [image.permute(2, 0, 1) for image in images.flatten(0, 2)]
    expected = theirs({"inputs": inputs})["inputs"]
    assert torch.equal(ours.normalize(images).flatten(0, 2), expected)


def test_restore_undoes_normalize_exactly() -> None:
    images = torch.arange(256, dtype=torch.uint8).repeat(3).reshape(1, 1, 1, 16, 16, 3)
    layer = ClipPreprocessor(**STATISTICS)
    assert torch.equal(layer.restore(layer.normalize(images)), images)
    beyond = layer.restore(torch.tensor([-90.0, 0.0, 90.0]).expand(1, 1, 1, 3, 1, 3))
    assert beyond[0, 0, 0, 0, 0].tolist() == [0, 0, 0]
    assert beyond[0, 0, 0, 0, 2].tolist() == [255, 255, 255]
    # BGR out: the means are given for RGB.
    assert beyond[0, 0, 0, 0, 1].tolist() == [104, 116, 124]


def test_clips_pass_through_as_uint8(clips: Clips) -> None:
    layer = ClipPreprocessor(mean=[0, 0, 0], std=[1, 1, 1])
    for data in (clips, {"clips": clips}):
        passed = layer(data)["clips"]
        assert torch.equal(passed.images_BTNHWC, clips.images_BTNHWC)
        assert passed.images_BTNHWC.dtype == torch.uint8
    assert layer.to("meta")(replace(clips))["clips"].valid_BTN.device.type == "meta"
    assert not layer.state_dict()


def test_wrong_statistics_are_refused() -> None:
    with pytest.raises(ValueError, match="three numbers each, std above 0"):
        ClipPreprocessor(mean=[0, 0, 0], std=[1, 0, 1])
