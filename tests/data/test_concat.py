import pytest
import torch

from drivemim.data.clips.concat import ConcatDataset
from drivemim.data.clips.sampler import ItemRequest


@pytest.fixture
def joined(small_index):
    """Five clips of the first scene's cameras, six of the second's, each of one camera."""
    common = {"type": "ClipDataset", "index": str(small_index), "image_size": (24, 32),
              "single_camera": True, "augment": {}}  # fmt: skip
    return ConcatDataset(
        datasets=[{**common, "scenes": [name]} for name in ("scene-0103", "scene-0061")]
    )


def test_requests_reach_the_data_sets_with_their_seed(joined):
    first, second = joined.datasets
    assert (len(first), len(second), len(joined)) == (3, 6, 9)
    for request, part, index in (
        (ItemRequest(2, 77), first, 2),
        (ItemRequest(3, 77), second, 0),
        (ItemRequest(8, 5), second, 5),
    ):
        expected, found = part[ItemRequest(index, request.seed)], joined[request]
        assert found.tokens == expected.tokens
        assert torch.equal(found.seeds_B, expected.seeds_B)
        assert torch.equal(found.images_BTNHWC, expected.images_BTNHWC)


def test_plain_positions_are_their_own_seeds_across_data_sets(joined):
    assert torch.equal(joined[3].seeds_B, joined[ItemRequest(3, 3)].seeds_B)
    assert not torch.equal(joined[3].seeds_B, joined[0].seeds_B)
    assert joined[-1].tokens == joined[8].tokens
    with pytest.raises(IndexError, match="item 9 of 9"):
        joined[9]


def test_the_metainfo_is_that_of_the_first(joined):
    assert joined.metainfo == {"classes": ("pedestrian", "vehicle")}
