import torch

from drivemim.masking import RandomMask


def test_the_highest_draws_are_hidden(make_clips):
    mask = RandomMask(mask_ratio=0.5)(make_clips(), (2, 3), torch.Generator().manual_seed(1))
    draws = torch.rand(6, generator=torch.Generator().manual_seed(1))
    assert torch.equal(mask.flatten(), draws > draws.sort().values[2])


def test_every_patch_is_hidden_equally_often(make_clips):
    mask = RandomMask(mask_ratio=0.75)(make_clips(shape=(100, 4, 5)), (4, 5), torch.Generator())
    often = mask.float().mean((0, 1, 2))
    # 2000 frames: standard deviation 0.01.
    torch.testing.assert_close(often, torch.full((4, 5), 0.75), atol=0.05, rtol=0)
