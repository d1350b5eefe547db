from itertools import islice

import pytest

from drivemim.datasets.draws import DrawSampler


def _draws(count, length=7, skip=0, **arguments):
    sampler = DrawSampler(range(length), seed=3, **arguments)
    sampler.skip(skip)
    return list(islice(sampler, count))


def test_an_epoch_draws_every_item_once_in_an_order_of_its_own():
    draws = _draws(21)
    epochs = [[draw.index for draw in draws[start : start + 7]] for start in (0, 7, 14)]
    assert all(sorted(epoch) == list(range(7)) for epoch in epochs)
    assert len({tuple(epoch) for epoch in epochs}) == 3


def test_every_draw_has_a_seed_of_its_own():
    seeds = [draw.seed for draw in _draws(1000)]
    assert len(set(seeds)) == 1000
    assert all(0 <= seed < 2**32 for seed in seeds)


def test_processes_share_what_one_would_draw():
    batch, processes = 2, 3
    alone = _draws(60, rank=0, world_size=1)
    ranks = [_draws(20, rank=rank, world_size=processes) for rank in range(processes)]
    for iteration in range(10):
        here = slice(iteration * batch, (iteration + 1) * batch)
        together = [draw for rank in ranks for draw in rank[here]]
        first = iteration * batch * processes
        assert sorted(together) == sorted(alone[first : first + batch * processes])


def test_skipping_is_going_on():
    for rank in (0, 1):
        whole = _draws(40, rank=rank, world_size=2)
        assert _draws(15, skip=25, rank=rank, world_size=2) == whole[25:]


def test_skips_add_up_and_iterating_does_not_move_the_start():
    sampler = DrawSampler(range(7), seed=3)
    first = list(islice(sampler, 5))
    assert list(islice(sampler, 5)) == first
    sampler.skip(2)
    sampler.skip(1)
    assert next(iter(sampler)) == first[3]
    with pytest.raises(ValueError, match="cannot skip -1"):
        sampler.skip(-1)


def test_without_shuffling_items_come_in_order():
    assert [draw.index for draw in _draws(9, shuffle=False)] == [0, 1, 2, 3, 4, 5, 6, 0, 1]


def test_another_seed_is_another_order():
    other = [draw.index for draw in islice(DrawSampler(range(100), seed=4), 100)]
    assert other != [draw.index for draw in _draws(100, length=100)]


def test_lengths():
    assert len(DrawSampler(range(7), seed=0)) == 7
    assert len(DrawSampler(range(7), seed=0, rank=0, world_size=2)) == 4
    with pytest.raises(ValueError, match="data set is empty"):
        DrawSampler([], seed=0)


def test_the_registry_builds_it():
    from drivemim.registry import DATA_SAMPLERS

    config = dict(type="drivemim.DrawSampler", shuffle=False)
    sampler = DATA_SAMPLERS.build(config, default_args={"dataset": range(3), "seed": 1})
    assert next(iter(sampler)).index == 0
