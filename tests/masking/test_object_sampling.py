import math

import torch

from drivemim.masking import MaskContext, clip_generators
from drivemim.masking.object_sampling import draw_objects, hashed_uniform


def hidden(clips, hide_probability):
    """Return whether each object of each frame is hidden: (B, T, N, M)."""
    generators = clip_generators(clips)
    context = MaskContext(clips=clips, grid=(8, 16), mask_ratio=0.5, generators=generators)
    return draw_objects(context, hide_probability, num_peek_frames=0).hidden_BTNM


def test_track_hidden_is_a_probability(make_clips):
    rows = [(10 * m, 0, 10 * m + 10, 20, m, 5.0) for m in range(16)]
    clips = make_clips({(b, 0, 0): rows for b in range(50)}, (50, 1, 1))
    fraction = hidden(clips, 0.25).float().mean()
    assert 0.18 < fraction < 0.32  # 800 draws: standard deviation 0.015


def test_a_track_is_drawn_once_and_a_box_without_one_in_every_frame(make_clips):
    frames = [(b, t, n) for b in range(40) for t in range(2) for n in range(2)]
    rows = [(0, 0, 40, 40, 7, math.inf), (0, 0, 40, 40, -1, math.inf)]
    clips = make_clips(dict.fromkeys(frames, rows), (40, 2, 2))
    clips.intrinsics_BTN33[:, :, 1, 0, 0] = 50
    drawn_BTNM = hidden(clips, 0.5)
    for one, other in (
        (drawn_BTNM[:, 0], drawn_BTNM[:, 1]),
        (drawn_BTNM[:, :, 0], drawn_BTNM[:, :, 1]),
    ):
        assert torch.equal(one[..., 0], other[..., 0])
        # A parked car that nobody tracks: of 80 pairs, half are different.
        assert 20 < (one[..., 1] != other[..., 1]).sum() < 60


def test_boxes_without_a_track_are_objects_of_their_own(make_clips):
    rows = [(10 * m, 0, 10 * m + 10, 40, -1, math.inf) for m in range(16)]
    drawn_TM = hidden(make_clips({(0, t, 0): rows for t in range(2)}, (1, 2, 1)), 0.5)[0, :, 0]
    assert 8 < drawn_TM.sum() < 24  # 32 draws: standard deviation 2.8
    assert not torch.equal(drawn_TM[0], drawn_TM[1])


def test_hashed_numbers_are_uniform_and_independent():
    keys = torch.arange(40_000)
    first, second = (hashed_uniform(keys, torch.tensor(salt)) for salt in (0.1, 0.7))
    for values in (first, second):
        assert values.min() >= 0
        assert values.max() < 1
        counts = (values * 20).long().bincount(minlength=20)
        assert ((counts - 2000).abs() < 250).all()  # standard deviation 44
    assert abs(torch.corrcoef(torch.stack([first, second]))[0, 1]) < 0.03
    assert abs(torch.corrcoef(torch.stack([first[1:], first[:-1]]))[0, 1]) < 0.03
    assert torch.equal(hashed_uniform(keys[[5]], torch.tensor(0.1)), first[[5]])
