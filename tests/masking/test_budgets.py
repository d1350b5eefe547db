"""Budgets that differ between frames: by hand, and as properties."""

import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from drivemim.masking.budgets import split_budget


def test_the_highest_draws_get_one_more():
    among = torch.tensor([[[True, True], [False, True]]])
    draws = torch.tensor([[[0.1, 0.7], [0.9, 0.8]]])
    expected = {0: [[0, 0], [0, 0]], 1: [[0, 0], [0, 1]], 2: [[0, 1], [0, 1]], 3: [[1, 1], [0, 1]]}
    for total, budgets in expected.items():
        assert split_budget(torch.tensor([total]), among, draws)[0].tolist() == budgets
    assert split_budget(torch.tensor([11]), among, draws)[0].tolist() == [[3, 4], [0, 4]]


def test_clips_have_totals_and_frames_of_their_own():
    among = torch.tensor([[[True, False]], [[True, True]], [[False, False]]])
    draws = torch.tensor([[[0.0, 0.0]], [[0.5, 0.4]], [[0.3, 0.2]]])
    spreaded = split_budget(torch.tensor([5, 5, 0]), among, draws)
    assert spreaded.tolist() == [[[5, 0]], [[3, 2]], [[0, 0]]]
    assert spreaded.dtype == torch.int64


@settings(max_examples=40, deadline=None)
@given(
    total=st.integers(0, 300),
    among=st.lists(st.booleans(), min_size=6, max_size=6).filter(any),
    seed=st.integers(0, 99),
)
def test_sums_are_exact_and_shares_even(total, among, seed):
    among_BTN = torch.tensor(among).view(1, 2, 3)
    draws = torch.rand(1, 2, 3, generator=torch.Generator().manual_seed(seed))
    budgets = split_budget(torch.tensor([total]), among_BTN, draws)
    assert budgets.sum() == total
    assert (budgets[~among_BTN] == 0).all()
    assert budgets[among_BTN].max() - budgets[among_BTN].min() <= 1
