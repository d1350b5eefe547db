import numpy as np
import pytest
import torch

from drivemim.clips import Clips, patch_grid
from drivemim.errors import ConfigError


def _clips(boxes: int, value: int, clips: int = 1) -> Clips:
    shape = (clips, 2, 3)
    return Clips(
        images_BTNHWC=torch.full((*shape, 4, 5, 3), value, dtype=torch.uint8),
        intrinsics_BTN33=torch.eye(3).expand(*shape, 3, 3),
        camera_to_clip_BTN44=torch.eye(4).expand(*shape, 4, 4),
        timestamps_BTN=torch.full(shape, value),
        valid_BTN=torch.ones(shape, dtype=torch.bool),
        boxes_BTNM4=torch.full((*shape, boxes, 4), float(value)),
        labels_BTNM=torch.full((*shape, boxes), value),
        tracks_BTNM=torch.full((*shape, boxes), value),
        depths_BTNM=torch.full((*shape, boxes), float(value)),
        points_BTNP3=torch.zeros(*shape, 0, 3),
        seeds_B=torch.full((clips,), value),
        tokens=((("a", "b", "c"), ("d", "e", str(value))),) * clips,
    )


def test_shape_and_length():
    clips = _clips(boxes=1, value=1, clips=4)
    assert len(clips) == 4
    assert clips.shape == (4, 2, 3)
    assert clips.image_size == (4, 5)


def test_joining_pads_boxes_to_the_longest_list():
    joined = Clips.cat([_clips(boxes=1, value=1), _clips(boxes=3, value=2), _clips(0, 3)])
    assert joined.shape == (3, 2, 3)
    assert joined.labels_BTNM[:, 1, 2].tolist() == [[1, -1, -1], [2, 2, 2], [-1, -1, -1]]
    assert joined.tracks_BTNM[0, 0, 0].tolist() == [1, -1, -1]
    assert joined.boxes_BTNM4[0, 0, 0].tolist() == [[1] * 4, [0] * 4, [0] * 4]
    assert joined.depths_BTNM[2, 0, 0].tolist() == [float("inf")] * 3
    assert joined.images_BTNHWC[:, 0, 0, 0, 0, 0].tolist() == [1, 2, 3]
    assert joined.seeds_B.tolist() == [1, 2, 3]
    assert [clip[1][2] for clip in joined.tokens] == ["1", "2", "3"]


def test_joining_clips_without_boxes():
    assert Clips.cat([_clips(0, 1), _clips(0, 2)]).boxes_BTNM4.shape == (2, 2, 3, 0, 4)


def test_moving_keeps_everything():
    clips = _clips(boxes=2, value=7)
    moved = clips.to("cpu")
    assert moved.tokens == clips.tokens
    assert torch.equal(moved.boxes_BTNM4, clips.boxes_BTNM4)
    assert moved.valid_BTN.dtype == torch.bool
    assert clips.to("meta").images_BTNHWC.device.type == "meta"


@pytest.mark.parametrize(
    ("leading", "shape"),
    [((2,), (2, 1, 1)), ((2, 3), (2, 1, 3)), ((2, 4, 3), (2, 4, 3))],
)
def test_images_of_each_shape_become_clips(leading, shape):
    images = torch.arange(int(np.prod(leading)) * 4 * 5 * 3) % 256
    images = images.to(torch.uint8).reshape(*leading, 4, 5, 3)
    clips = Clips.from_images(images, seed=7)
    assert clips.shape == shape
    assert clips.image_size == (4, 5)
    assert torch.equal(clips.images_BTNHWC.flatten(), images.flatten())
    assert clips.seeds_B.tolist() == [7, 8]
    assert clips.valid_BTN.all()
    assert (clips.labels_BTNM.shape[3], clips.points_BTNP3.shape[3]) == (0, 0)
    assert clips.tokens[1][-1][-1] == f"1-{shape[1] - 1}-{shape[2] - 1}"
    # Without timestamps, the time between the steps is unknown.
    several = {"timestamps"} if shape[1] > 1 else set()
    assert clips.unknown == {"intrinsics", "poses", "boxes", "labels"} | several


def test_images_are_converted_to_stored_pixels():
    red = np.zeros((1, 2, 2, 3))
    red[..., 0] = 0.5
    red[..., 2] = 1.0
    assert Clips.from_images(red).images_BTNHWC[0, 0, 0, 1, 1].tolist() == [128, 0, 255]
    assert Clips.from_images(red, rgb=True).images_BTNHWC[0, 0, 0, 1, 1].tolist() == [255, 0, 128]


def test_arguments_broadcast_over_images():
    images = np.zeros((2, 3, 8, 10, 3), np.uint8)
    clips = Clips.from_images(
        images,
        intrinsics=[[5, 0, 2], [0, 5, 3], [0, 0, 1]],
        poses=np.tile(np.eye(4), (3, 1, 1)) * [[[1]], [[2]], [[3]]],
        timestamps=[[1], [2]],
        boxes=[[-3, 1, 4, 20], [12, 2, 15, 5]],
        labels=[1, 0],
        tracks=[[[7, 8]], [[9, 10]]],
        points=np.ones((2, 3, 4, 3)),
    )
    assert clips.unknown == frozenset()
    assert clips.intrinsics_BTN33[1, 0, 2].tolist() == [[5, 0, 2], [0, 5, 3], [0, 0, 1]]
    assert clips.camera_to_clip_BTN44[:, 0, :, 0, 0].tolist() == [[1, 2, 3], [1, 2, 3]]
    assert clips.timestamps_BTN[:, 0].tolist() == [[1, 1, 1], [2, 2, 2]]
    # The first box is clipped to the image; the second is outside.
    assert clips.boxes_BTNM4[1, 0, 1].tolist() == [[0, 1, 4, 8], [10, 2, 10, 5]]
    assert clips.labels_BTNM[0, 0, 0].tolist() == [1, -1]
    assert clips.tracks_BTNM[1, 0, 2].tolist() == [9, 10]
    assert clips.depths_BTNM[0, 0, 0].tolist() == [float("inf")] * 2
    assert clips.points_BTNP3.shape == (2, 1, 3, 4, 3)


SMALL = np.zeros((2, 8, 8, 3), np.uint8)


@pytest.mark.parametrize(
    ("images", "known", "complaint"),
    [
        (SMALL[0], {}, r"images of shape \(8, 8, 3\) must be \(B, T, N"),
        (np.zeros((1, 3, 8, 8), np.uint8), {}, "move the channels to the end"),
        (SMALL.astype(np.int64), {}, r"type torch\.int64 must be uint8, or float in"),
        (SMALL + 9.5, {}, r"in \[0, 1\], not \[9\.5, 9\.5\]; convert"),
        (SMALL * np.nan, {}, r"in \[0, 1\], not \[nan, nan\]"),
        (SMALL, {"poses": np.eye(3)}, r"poses of shape \(3, 3\) must have .* \(2, 4, 4\), or one"),
        (SMALL, {"boxes": np.zeros((2, 5))}, r"boxes of shape \(2, 5\) must have 4 numbers in a"),
        (SMALL, {"boxes": np.zeros((3, 1, 4))}, r"\(3, 1, 4\) must have the shape \(2, 1, 4\)"),
    ],
)
def test_images_of_other_shapes_are_refused(images, known, complaint):
    with pytest.raises(ConfigError, match=complaint):
        Clips.from_images(images, **known)


@pytest.mark.parametrize("box", [[40, 40, 10, 10], [2, 2, 2, 5], [1, 5, 4, 3], [1, 1, np.nan, 4]])
def test_boxes_without_area_are_refused(box):
    match = (
        rf"boxes: \[{box[0]}\.0, .* has no area; give x1, y1, x2, y2 in pixels, .*not x, y, width"
    )
    with pytest.raises(ConfigError, match=match):
        Clips.from_images(SMALL, boxes=[[0, 0, 8, 8], box])
    padded = Clips.from_images(SMALL, boxes=[[0, 0, 8, 8], box], labels=[1, -1])
    assert padded.labels_BTNM[0, 0, 0].tolist() == [1, -1]


def test_boxes_of_zeros_are_padding():
    clips = Clips.from_images(SMALL, boxes=[[0, 0, 8, 8], [0, 0, 0, 0]])
    assert clips.labels_BTNM[1, 0, 0].tolist() == [0, -1]


def test_missing_inputs_stay_missing_in_batches_and_on_devices():
    images = np.zeros((1, 8, 8, 3), np.uint8)
    lacking, complete = Clips.from_images(images), Clips.from_images(images, poses=np.eye(4))
    assert Clips.cat([complete, lacking]).to("cpu").unknown == lacking.unknown
    complete.require("A mask", "poses")
    match = (
        r"A mask needs the intrinsics and boxes of the images, .*intrinsics= of shape "
        r"\(\.\.\., 3, 3\), pixels and boxes= of shape"
    )
    with pytest.raises(ConfigError, match=match):
        complete.require("A mask", "intrinsics", "poses", "boxes")


def test_the_image_size_must_fit_the_patches() -> None:
    assert patch_grid((32, 48), 16) == (2, 3)
    with pytest.raises(ValueError, match=r"33x48 .* patch size 16; resize or pad to 48x48"):
        patch_grid((33, 48), 16)
    with pytest.raises(ValueError, match="0x48 .* has no pixels"):
        patch_grid((0, 48), 16)
    with pytest.raises(ValueError, match="patch size 0 must be 1 or more pixels"):
        patch_grid((32, 48), 0)
