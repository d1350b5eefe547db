"""The probe: labels of patches, both classifiers and the metrics, by hand and by brute force."""

import dataclasses
import math

import numpy as np
import pytest
import torch

from drivemim.errors import CheckpointError, DataError
from drivemim.evaluation import frozen_probe as module
from drivemim.evaluation.frozen_probe import (
    LabelledPatches,
    average_precision,
    effective_rank,
    linear_scores,
    neighbour_scores,
    patch_labels,
    probe,
    probe_table,
    score_patches,
)
from drivemim.transfer.export_metadata import one_frame


def random_patches(count, dims=5, seed=0, shift=1.0):
    """Three clouds of different sizes, on features of very different units."""
    generator = torch.Generator().manual_seed(seed)
    labels = torch.multinomial(torch.tensor([0.8, 0.05, 0.15]), count, True, generator=generator)
    labels[:3] = torch.arange(3)
    features = torch.randn(count, dims, generator=generator)
    features[:, :3] += shift * torch.nn.functional.one_hot(labels, 3)
    return LabelledPatches(features_XD=features * 10.0 ** torch.arange(dims) + 7, labels_X=labels)


def labelled_frame(boxes, labels, depths):
    clips = one_frame(torch.zeros(20, 40, 3, dtype=torch.uint8))
    return dataclasses.replace(
        clips,
        boxes_BTNM4=torch.tensor(boxes, dtype=torch.float32).reshape(1, 1, 1, -1, 4),
        labels_BTNM=torch.tensor(labels, dtype=torch.int64).reshape(1, 1, 1, -1),
        tracks_BTNM=torch.tensor(labels, dtype=torch.int64).reshape(1, 1, 1, -1),
        depths_BTNM=torch.tensor(depths, dtype=torch.float32).reshape(1, 1, 1, -1),
    )


def test_a_patch_has_the_class_of_its_nearest_object():
    # Patches of 10 pixels. A vehicle over the left three columns, a pedestrian before it in the
    # second column, and padding over everything.
    clips = labelled_frame(
        [[0, 0, 30, 20], [11, 0, 19, 20], [0, 0, 40, 20]], [1, 0, -1], [10.0, 5.0, 1.0]
    )
    assert patch_labels(clips, (2, 4))[0, 0, 0].tolist() == [[2, 1, 2, 0], [2, 1, 2, 0]]
    behind = labelled_frame([[0, 0, 30, 20], [11, 0, 19, 20]], [1, 0], [5.0, 10.0])
    assert patch_labels(behind, (2, 4))[0, 0, 0].tolist() == [[2, 2, 2, 0], [2, 2, 2, 0]]


def test_without_boxes_every_patch_is_rest():
    assert patch_labels(labelled_frame([], [], []), (2, 4)).tolist() == [[[[[0] * 4] * 2]]]


def test_average_precision_by_hand():
    positive = torch.tensor([True, False, True, False])
    # Precision 1 at the first hit and 2/3 at the second.
    assert average_precision(torch.tensor([4.0, 3.0, 2.0, 1.0]), positive) == pytest.approx(5 / 6)
    assert average_precision(torch.tensor([1.0, 2.0, 3.0, 4.0]), positive) == pytest.approx(0.5)
    # Equal scores are one threshold, whatever the order: precision is the fraction of positives.
    assert average_precision(torch.zeros(4), positive) == pytest.approx(0.5)
    assert average_precision(torch.zeros(4), positive.flip(0)) == pytest.approx(0.5)
    assert average_precision(torch.ones(1), torch.tensor([True])) == 1.0
    assert math.isnan(average_precision(torch.ones(2), torch.tensor([False, False])))


def test_average_precision_against_every_threshold():
    random = np.random.default_rng(0)
    for _ in range(20):
        scores, positive = random.integers(0, 12, 40) / 4, random.random(40) < 0.3
        positive[0] = True
        expected, recalled = 0.0, 0.0
        for threshold in sorted(set(scores), reverse=True):
            found = scores >= threshold
            recall = (found & positive).sum() / positive.sum()
            expected += (recall - recalled) * (found & positive).sum() / found.sum()
            recalled = recall
        result = average_precision(torch.from_numpy(scores), torch.from_numpy(positive))
        assert result == pytest.approx(expected)


def test_effective_rank_by_hand():
    # Columns of a Hadamard matrix: uncorrelated, of equal variance, mean 0.
    signs = torch.tensor([[1.0, 1, 1], [-1, 1, -1], [1, -1, -1], [-1, -1, 1]])
    assert effective_rank(signs + 5) == pytest.approx(3)
    assert effective_rank(signs[:, :1].repeat(1, 4)) == pytest.approx(1)
    # Variances 3 : 1.
    expected = math.exp(-(0.75 * math.log(0.75) + 0.25 * math.log(0.25)))
    assert effective_rank(signs[:, :2] * torch.tensor([3.0**0.5, 1.0])) == pytest.approx(expected)
    assert effective_rank(torch.ones(4, 3)) == 0.0


def test_linear_scores_are_those_of_weighted_least_squares(monkeypatch):
    monkeypatch.setattr(module, "_CHUNK", 64)
    train, val = random_patches(300), random_patches(50, seed=1)
    x = train.features_XD.double().numpy()
    mean, deviation = x.mean(axis=0), x.std(axis=0)
    x = np.c_[(x - mean) / deviation, np.ones(len(x))]
    labels = train.labels_X.numpy()
    # Every class weighs a third in all; the penalty as extra rows; the intercept is free.
    root = np.sqrt(1 / (3 * np.bincount(labels)[labels]))[:, None]
    penalty = np.sqrt(module.RIDGE) * np.eye(6)[:5]
    rows = np.r_[root * x, penalty]
    targets = np.r_[root * np.eye(3)[labels], np.zeros((5, 3))]
    solution = np.linalg.lstsq(rows, targets, rcond=None)[0]
    inputs = (val.features_XD.double().numpy() - mean) / deviation
    expected = np.c_[inputs, np.ones(len(inputs))] @ solution
    np.testing.assert_allclose(linear_scores(train, val.features_XD), expected, atol=1e-4)


def test_linear_scores_do_not_depend_on_units_or_constant_features():
    train, val = random_patches(300), random_patches(50, seed=1)
    scores = linear_scores(train, val.features_XD)
    scale = torch.tensor([1000.0, 0.01, 1.0, 5.0, -1.0])

    def other(features):
        return torch.cat([features * scale, torch.full((len(features), 1), 3.0)], dim=1)

    changed = LabelledPatches(features_XD=other(train.features_XD), labels_X=train.labels_X)
    torch.testing.assert_close(
        linear_scores(changed, other(val.features_XD)), scores, atol=1e-3, rtol=0
    )


def test_neighbours_against_brute_force(monkeypatch):
    monkeypatch.setattr(module, "_CHUNK", 16)
    train, val = random_patches(200), random_patches(50, seed=1)
    x, labels = train.features_XD.double().numpy(), train.labels_X.numpy()
    mean, deviation = x.mean(axis=0), x.std(axis=0)
    keys = (x - mean) / deviation
    scores = neighbour_scores(train, val.features_XD).numpy()
    for row, query in zip(scores, val.features_XD.double().numpy(), strict=True):
        query = (query - mean) / deviation
        cosines = [key @ query / np.linalg.norm(key) / np.linalg.norm(query) for key in keys]
        nearest = np.argsort(cosines)[-20:]
        assert row.tolist() == pytest.approx(np.bincount(labels[nearest], minlength=3) / 20)


def test_neighbours_come_from_equally_many_patches_per_class(monkeypatch):
    monkeypatch.setattr(module, "PATCHES_PER_CLASS", 30)
    # Features that say nothing: the votes follow the number of patches of each class.
    generator = torch.Generator().manual_seed(0)
    labels = torch.tensor([0] * 900 + [1] * 10 + [2] * 90)
    train = LabelledPatches(features_XD=torch.randn(1000, 4, generator=generator), labels_X=labels)
    val = torch.randn(2000, 4, generator=generator)
    fractions = neighbour_scores(train, val).mean(dim=0)
    torch.testing.assert_close(fractions, torch.tensor([3 / 7, 1 / 7, 3 / 7]), atol=0.06, rtol=0)
    assert torch.equal(neighbour_scores(train, val, seed=3), neighbour_scores(train, val, seed=3))
    assert not torch.equal(neighbour_scores(train, val), neighbour_scores(train, val, seed=3))


def test_metrics_by_hand():
    labels = torch.tensor([0, 0, 0, 0, 1, 2])
    rest = [[0.9, 0.3, 0.0], [0.8, 0.2, 0.0], [0.7, 0.1, 0.0], [0.1, 0.5, 0.4]]
    scores = torch.tensor([*rest, [0.0, 0.4, 0.6], [0.0, 0.1, 0.9]])
    metrics = score_patches(scores, labels)
    # The pedestrian's patch is second of its column, the vehicle's first; guesses: 3 times rest,
    # pedestrian, vehicle, vehicle, so 3/4 of rest, none of pedestrian and all of vehicle.
    assert metrics == {
        "pedestrian_AP": pytest.approx(0.5),
        "vehicle_AP": pytest.approx(1.0),
        "mAP": pytest.approx(0.75),
        "balanced_accuracy": pytest.approx(1.75 / 3),
    }


def test_probe_finds_a_signal_only_if_there_is_one():
    separable = probe(random_patches(600, shift=20.0), random_patches(300, seed=1, shift=20.0))
    assert separable["linear/mAP"] == pytest.approx(1.0)
    assert separable["knn/mAP"] == pytest.approx(1.0)
    assert separable["linear/balanced_accuracy"] == pytest.approx(1.0)
    noise = probe(random_patches(4000, shift=0.0), random_patches(4000, seed=1, shift=0.0))
    # By chance: the fraction of the class's patches, and one guess in three.
    assert noise["linear/mAP"] == pytest.approx(0.1, abs=0.03)
    assert noise["knn/mAP"] == pytest.approx(0.1, abs=0.03)
    assert noise["linear/balanced_accuracy"] == pytest.approx(1 / 3, abs=0.05)
    lines = probe_table(separable).splitlines()
    assert lines[2] == "| linear | 100.0 | 100.0 | 100.0 | 100.0 |"
    assert lines[-1] == "effective rank 1.1"  # one feature's unit outweighs the others


def test_data_that_cannot_be_probed_is_refused():
    patches = random_patches(30)
    nobody = LabelledPatches(
        features_XD=patches.features_XD, labels_X=patches.labels_X.clamp(max=1)
    )
    with pytest.raises(DataError, match=r"val has .*'vehicle': 0"):
        probe(patches, nobody)
    broken = LabelledPatches(features_XD=patches.features_XD / 0, labels_X=patches.labels_X)
    with pytest.raises(CheckpointError, match="features of train are not finite"):
        probe(broken, patches)
