import pytest
import torch

from drivemim.masking.object_patches import sort_patches


@pytest.mark.parametrize(("frames", "patches"), [(2**15 + 1, 1), (1, 2**16 + 1)])
def test_more_frames_or_patches_than_a_sort_key_holds_are_refused(frames, patches):
    owners_FL = torch.zeros(frames, patches, dtype=torch.int64)
    ranks_FM = torch.zeros(frames, 1, dtype=torch.int64)
    with pytest.raises(ValueError, match=f"{frames} frames in a batch, {patches} patches and 1 "):
        sort_patches(owners_FL, ranks_FM, torch.zeros(frames, patches))


def test_the_largest_frame_number_fits_the_sort_key():
    """Two patches per frame, the second one cheaper to remove."""
    frames = 2**15
    owners_FL = torch.zeros(frames, 2, dtype=torch.int64)
    ranks_FM = torch.zeros(frames, 1, dtype=torch.int64)
    found = sort_patches(owners_FL, ranks_FM, torch.tensor([1.0, 0.0]).expand(frames, 2))
    assert found.patch_K[-4:].tolist() == [2 * frames - 3, 2 * frames - 4, 2 * frames - 1,
                                           2 * frames - 2]  # fmt: skip
    assert found.starts_FM[-1].tolist() == [2 * frames - 2]
    assert found.ends_FM[-1].tolist() == [2 * frames]
