"""Merging of views (the boxes of one camera's image) by sample, independent of the order."""

from dataclasses import fields, replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from drivemim.evaluation.view_merging import GlobalBoxes, ground_overlaps, merge_views


def make(centers, *, size=(2.0, 4.0, 1.5), yaw=0.0, scores=0.5, labels=0):
    M = len(centers)
    half = np.broadcast_to(np.asarray(yaw, float), M) / 2
    return GlobalBoxes(
        centers_M3=np.array(centers, float).reshape(M, 3),
        sizes_M3=np.broadcast_to(np.asarray(size, float), (M, 3)).copy(),
        rotations_M4=np.stack([np.cos(half), 0 * half, 0 * half, np.sin(half)], axis=1),
        velocities_M2=np.zeros((M, 2)),
        scores_M=np.broadcast_to(np.asarray(scores, float), M).copy(),
        labels_M=np.broadcast_to(np.asarray(labels, np.int64), M).copy(),
        attributes_M=np.full(M, -1),
    )


def random_boxes(seed, count):
    """A crowd within 20 x 20 m far from the origin, with ties among the scores."""
    generator = np.random.default_rng(seed)
    centers = generator.uniform(0, 20, (count, 3)) + [411, 1181, 0]
    return make(
        centers,
        size=generator.uniform(0.4, 6, (count, 3)),
        yaw=generator.uniform(-np.pi, np.pi, count),
        scores=generator.integers(1, 5, count) / 5,
        labels=generator.integers(0, 3, count),
    )


def same(first, second):
    return all(
        np.array_equal(getattr(first, each.name), getattr(second, each.name))
        for each in fields(GlobalBoxes)
    )


def test_overlap_by_hand():
    # 2 wide, 4 long, heading x: shifted by 1 along x, 3 of 5 metres are shared.
    pairs, overlaps = ground_overlaps(make([[0, 0, 0], [1, 0, 9], [50, 0, 0]]))
    assert pairs.tolist() == [[0, 1]]
    assert overlaps[0] == pytest.approx(3 / 5)
    # A quarter turn: a cross of 4 x 2 and 2 x 4 shares 2 x 2 of 12.
    _, overlaps = ground_overlaps(make([[0, 0, 0], [0, 0, 0]], yaw=[0.0, np.pi / 2]))
    assert overlaps[0] == pytest.approx(4 / 12)
    # Boxes of two classes are never paired.
    assert len(ground_overlaps(make([[0, 0, 0], [0, 0, 0]], labels=[0, 5]))[0]) == 0


@pytest.mark.parametrize("apart", [0.0, 1e-9, 1e-7, 1e-6, 1e-5, 1e-3])
def test_boxes_that_nearly_coincide_overlap_fully(apart):
    generator = np.random.default_rng(0)
    for _ in range(200):
        one = make(
            [generator.normal(600, 300, 3)],
            size=generator.uniform(0.3, 12, 3),
            yaw=generator.uniform(-np.pi, np.pi),
        )
        centers = np.concatenate([one.centers_M3, one.centers_M3 + generator.normal(0, apart, 3)])
        two = replace(one.take(np.array([0, 0])), centers_M3=centers)
        assert ground_overlaps(two)[1][0] > 0.95
        assert len(merge_views([("a", two)])["a"]) == 1


def test_an_object_in_two_cameras_is_kept_once_with_its_best_score():
    front = make([[10, 0, 1], [30, 5, 1]], scores=[0.6, 0.9])
    side = make([[10.2, 0.1, 1], [10, 20, 1]], scores=[0.8, 0.3])
    merged = merge_views([("s", front), ("t", side), ("s", side)])
    assert list(merged) == ["s", "t"]
    assert merged["s"].scores_M.tolist() == [0.9, 0.8, 0.3]
    assert merged["s"].centers_M3[1].tolist() == [10.2, 0.1, 1]
    assert len(merged["t"]) == 2  # nothing is suppressed across samples


def test_a_suppressed_box_suppresses_nothing():
    row = make([[0, 0, 0], [2, 0, 0], [4, 0, 0]], scores=[0.9, 0.8, 0.7])  # neighbours share 1/3
    assert merge_views([("a", row)], overlap=0.2)["a"].scores_M.tolist() == [0.9, 0.7]
    assert len(merge_views([("a", row)], overlap=0.4)["a"]) == 3


@given(st.integers(0, 1000), st.integers(0, 40), st.randoms(use_true_random=False))
@settings(max_examples=60, deadline=None)
def test_neither_the_order_of_images_nor_of_boxes_matters(seed, count, random):
    boxes = random_boxes(seed, count)
    owners = np.random.default_rng(seed).integers(0, 6, count)
    views = [(f"sample-{owner % 2}", boxes.take(owners == owner)) for owner in range(6)]
    merged = merge_views(views, max_boxes=15, overlap=0.2)
    shuffled = [(token, each.take(np.random.default_rng(1).permutation(len(each))))
                for token, each in views]  # fmt: skip
    random.shuffle(shuffled)
    again = merge_views(shuffled, max_boxes=15, overlap=0.2)
    assert set(merged) == set(again) == {"sample-0", "sample-1"}
    for token in merged:
        assert same(merged[token], again[token])
        assert len(merged[token]) <= 15
        assert (np.diff(merged[token].scores_M) <= 0).all()
        assert not (ground_overlaps(merged[token])[1] > 0.2).any()


def test_other_cameras_do_not_change_the_boxes_of_a_subset():
    # Three cameras whose views do not overlap, and a fourth that overlaps with the first alone.
    first, second, third = (make([[x, 0, 0], [x + 5, 0, 0]]) for x in (0, 100, 200))
    fourth = make([[0.1, 0, 0]], scores=0.4)
    every = merge_views([("a", first), ("a", second), ("a", third), ("a", fourth)])["a"]
    some = merge_views([("a", third), ("a", first)])["a"]
    expected = every.take(np.isin(every.centers_M3[:, 0], [0, 5, 200, 205]))
    assert same(expected, some)


def test_degenerate_boxes_and_nothing_at_all():
    assert merge_views([]) == {}
    assert len(merge_views([("a", GlobalBoxes.none())])["a"]) == 0
    assert len(merge_views([("a", random_boxes(0, 5))], max_boxes=0)["a"]) == 0
    flat = make([[0, 0, 0]] * 2, size=(0.0, 4.0, 1.0))
    wrong = make([[np.nan, 0, 0]] * 2)
    # They are kept, so that the check of the results can report them.
    assert len(merge_views([("a", flat), ("a", wrong)])["a"]) == 4
    with pytest.raises(ValueError, match="overlap=2"):
        merge_views([], overlap=2)
