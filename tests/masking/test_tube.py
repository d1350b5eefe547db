import torch

from drivemim.masking import TubeMask


def test_patches_stay_through_time_and_differ_between_cameras(make_clips):
    mask = TubeMask(mask_ratio=0.5)(make_clips(shape=(2, 3, 2)), (4, 8), torch.Generator())
    assert torch.equal(mask, mask[:, :1].expand_as(mask))
    assert not torch.equal(mask[:, :, 0], mask[:, :, 1])
    assert not torch.equal(mask[0], mask[1])


def test_the_highest_draws_are_hidden(make_clips):
    mask = TubeMask(mask_ratio=0.5)(
        make_clips(shape=(1, 2, 1)), (2, 3), torch.Generator().manual_seed(1)
    )
    draws = torch.rand(6, generator=torch.Generator().manual_seed(1))
    assert torch.equal(mask[0, 1, 0].flatten(), draws > draws.sort().values[2])
