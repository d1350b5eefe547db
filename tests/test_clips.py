import torch

from drivemim.clips import Clips


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
