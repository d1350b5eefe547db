import json
import shutil
from types import SimpleNamespace

import pytest
import torch
from torch import nn

from drivemim.errors import ConfigError
from drivemim.masking import (
    BlockMask,
    GuidedMask,
    MixtureMask,
    ObjectMask,
    RandomMask,
    StackMask,
    TubeMask,
)
from drivemim.training.hooks import MaskSchedule
from drivemim.training.run import train
from drivemim.transfer.export_metadata import one_frame


class Hub:
    def __init__(self):
        self.scalars = {}

    def update_scalar(self, name, value):
        self.scalars[name] = value


def runner_of(masking, iteration=0, max_iters=10):
    model = nn.Module()
    model.masking = masking
    return SimpleNamespace(model=model, iter=iteration, max_iters=max_iters, message_hub=Hub())


def values_of(masking, iterations, read, **move):
    """Return the result of ``read(masking)`` at each iteration of a run of ten iterations."""
    hook, found = MaskSchedule(moves=[move]), []
    hook.before_run(runner_of(masking))
    for iteration in iterations:
        hook.before_train_iter(runner_of(masking, iteration), 0)
        found.append(read(masking))
    return found


@pytest.mark.parametrize(
    ("move", "expected"),
    [
        (dict(), [0.2, 0.26, 0.5, 0.74, 0.8]),
        (dict(until=0.5), [0.2, 0.32, 0.8, 0.8, 0.8]),
        (dict(begin=0.5), [0.2, 0.2, 0.2, 0.68, 0.8]),
        (dict(begin=0.1, until=0.5), [0.2, 0.2, 0.8, 0.8, 0.8]),
        # (1 - cos(0.2 pi)) / 2 is 0.0955.
        (dict(shape="cosine", until=0.5), [0.2, 0.2 + 0.6 * 0.0955, 0.8, 0.8, 0.8]),
        (dict(shape="cosine"), [0.2, 0.2 + 0.6 * 0.02447, 0.5, 0.8 - 0.6 * 0.02447, 0.8]),
    ],
)
def test_values_by_hand(move, expected):
    move = dict(name="mask_ratio", start=0.2, end=0.8, **move)
    found = values_of(RandomMask(), [0, 1, 5, 9, 10], lambda masking: masking.mask_ratio, **move)
    assert found == pytest.approx(expected, abs=1e-4)


def test_a_value_depends_on_the_iteration_alone():
    masking = RandomMask()
    move = dict(name="mask_ratio", start=0.2, end=0.8)
    there = values_of(masking, range(11), lambda masking: masking.mask_ratio, **move)
    back = values_of(masking, range(10, -1, -1), lambda masking: masking.mask_ratio, **move)
    assert back == there[::-1]


def test_numbers_of_nested_strategies_and_of_lists_move():
    nested = ObjectMask(base=GuidedMask(budget_fraction=0.3), min_visible=1)
    masking = MixtureMask(strategies=[TubeMask(), nested], weights=(1.0, 3.0))
    weights = masking.weights
    hook = MaskSchedule(
        moves=[
            dict(name="strategies.1.base.budget_fraction", start=0, end=1),
            dict(name="strategies.1.min_visible", start=1, end=4),
            dict(name="weights.0", start=1, end=2),
        ]
    )
    hook.before_run(runner_of(masking))
    hook.before_train(runner_of(masking, 6))
    assert nested.base.budget_fraction == pytest.approx(0.6)
    assert masking.weights == pytest.approx([1.6, 3.0])
    assert nested.min_visible == 3
    assert masking.mask_ratio == 0.75
    assert isinstance(nested.min_visible, int)  # 2.8 is rounded to whole patches
    assert weights == [1.0, 3.0], "the list itself is replaced, not changed in place"


def test_a_number_in_a_dict_moves():
    masking = ObjectMask(budget_fraction={"pedestrian": 0.2, "vehicle": 0.3})
    found = values_of(
        masking,
        [5],
        lambda masking: dict(masking.budget_fraction),
        name="budget_fraction.vehicle",
        start=0.1,
        end=0.7,
    )
    assert found[0] == pytest.approx({"pedestrian": 0.2, "vehicle": 0.4})


def test_the_mask_has_the_mask_ratio_that_the_schedule_sets():
    masking = RandomMask(mask_ratio=0.75)
    clips, generator = one_frame(torch.zeros(8, 8, 3, dtype=torch.uint8)), torch.Generator()
    values_of(masking, [4], lambda masking: None, name="mask_ratio", start=0.5, end=1.0)
    assert masking(clips, (10, 10), generator).sum() == 70


def test_evaluation_has_the_values_of_the_iteration_it_follows():
    masking = RandomMask(mask_ratio=0.75)
    hook = MaskSchedule(moves=[dict(name="mask_ratio", start=0.0, end=1.0)])
    hook.before_run(runner_of(masking))
    hook.before_val(SimpleNamespace())  # evaluation without training: the ratio stays
    assert masking.mask_ratio == 0.75
    hook.before_train(runner_of(masking, 3))
    assert masking.mask_ratio == pytest.approx(0.3)
    hook.before_val(runner_of(masking, 4))
    assert masking.mask_ratio == pytest.approx(0.4)


def test_the_scheduled_values_are_logged():
    masking = ObjectMask()
    hook = MaskSchedule(moves=[dict(name="min_visible", start=0, end=3)])
    hook.before_run(runner_of(masking))
    runner = runner_of(masking, 5)
    hook.before_train_iter(runner, 0)
    assert runner.message_hub.scalars == {"train/mask/min_visible": 2}


@pytest.mark.parametrize(
    ("masking", "moves", "message"),
    [
        (
            RandomMask(),
            [dict(name="mask_ratoi", start=0, end=1)],
            "'mask_ratoi' in RandomMask.*'mask_ratio'",
        ),
        (
            ObjectMask(base=GuidedMask()),
            [dict(name="base.budget_fractions", start=0, end=1)],
            "did you mean 'base.budget_fraction'",
        ),
        # Only the outermost strategy uses its mask ratio.
        (
            ObjectMask(),
            [dict(name="base.mask_ratio", start=0, end=1)],
            "no number 'base.mask_ratio'",
        ),
        (ObjectMask(), [dict(name="base", start=0, end=1)], "no number 'base'"),
        (
            ObjectMask(),
            [dict(name="visible_fraction", start=0.5, end=1.5)],
            r"after .*% of the run, which ObjectMask refuses: "
            r"visible_fraction=1\.0.* must be in \[0, 1\]",
        ),
        (BlockMask(), [dict(name="min_area", start=0.04, end=0.3)], "BlockMask refuses"),
        (
            StackMask(strategies=[RandomMask(), TubeMask()], budget_fractions=[0.5, 0.5]),
            [
                dict(name="budget_fractions.0", start=0.0, end=1.0),
                dict(name="budget_fractions.1", start=1.0, end=0.0, shape="cosine"),
            ],
            "StackMask refuses: budget_fractions=.* must have a sum of 1",
        ),
        ("none", [dict(name="mask_ratio", start=0, end=1)], "Module has no masking"),
    ],
)
def test_invalid_moves_are_refused_before_training(masking, moves, message):
    with pytest.raises(ConfigError, match=message):
        MaskSchedule(moves=moves).before_run(runner_of(masking))


def test_numbers_that_must_have_a_sum_of_one_move_together():
    masking = StackMask(strategies=[RandomMask(), TubeMask()], budget_fractions=[0.5, 0.5])
    moves = [
        dict(name=f"budget_fractions.{at}", start=at, end=1 - at, shape="cosine") for at in (0, 1)
    ]
    hook = MaskSchedule(moves=moves)
    hook.before_run(runner_of(masking))
    hook.before_train(runner_of(masking, 5))
    assert masking.budget_fractions == pytest.approx([0.5, 0.5])


@pytest.mark.parametrize(
    ("moves", "message"),
    [
        ([dict(name="mask_ratio", start=0, ned=1)], "no key 'ned'; did you mean 'end'"),
        ([dict(name="mask_ratio", end=1)], "lacks its start"),
        ([dict(name="mask_ratio", start=0, end=1)] * 2, "mask_ratio more than once"),
        ([dict(name="mask_ratio", start=0, end=1, shape="step")], "shape='step'.* linear, cosine"),
        ([dict(name="mask_ratio", start=0, end=1, until=1.1)], r"until=1\.1.* in \[0, 1\]"),
        (
            [dict(name="mask_ratio", start=0, end=1, begin=0.5, until=0.5)],
            r"begin=0\.5 to until=0\.5",
        ),
    ],
)
def test_malformed_moves_are_refused(moves, message):
    with pytest.raises(ConfigError, match=message):
        MaskSchedule(moves=moves)


def scalars(work_dir):
    lines = [
        json.loads(line)
        for log in work_dir.glob("*/vis_data/scalars.json")
        for line in log.read_text().splitlines()
    ]
    return {
        line["step"]: (line["loss"], line["mask/budget_fraction"], line["mask/mask_ratio"])
        for line in lines
    }


def test_a_resumed_run_with_guided_scheduled_masks_equals_an_uninterrupted_one(
    repository, tmp_path
):
    """Run four iterations, then repeat the last two from the checkpoint of the second."""
    options = {
        "model.teacher": dict(type="TeacherAttention", momentum=0.5),
        "model.masking": dict(type="GuidedMask", budget_fraction=0.0),
        "train_cfg.max_iters": 4,
        "param_scheduler.0.end": 4,
        "custom_hooks": [
            dict(
                type="MaskSchedule",
                moves=[
                    dict(name="budget_fraction", start=0.0, end=1.0),
                    dict(name="mask_ratio", start=0.3, end=0.5, until=0.5),
                ],
            )
        ],
    }
    config = repository / "tests" / "toys" / "configs" / "vit.py"
    train(config, work_dir=tmp_path / "whole", options=options)
    (tmp_path / "again").mkdir()
    shutil.copy(tmp_path / "whole" / "iter_2.pth", tmp_path / "again")
    train(
        config, work_dir=tmp_path / "again", resume=tmp_path / "again/iter_2.pth", options=options
    )
    whole, again = scalars(tmp_path / "whole"), scalars(tmp_path / "again")
    assert [whole[step][1] for step in (1, 2, 3, 4)] == [0.0, 0.25, 0.5, 0.75]
    assert [whole[step][2] for step in (1, 2, 3, 4)] == pytest.approx([0.3, 0.4, 0.5, 0.5])
    assert again == {step: whole[step] for step in (3, 4)}
    expected, found = (
        torch.load(tmp_path / run / "iter_4.pth", weights_only=False)["state_dict"]
        for run in ("whole", "again")
    )
    assert found["teacher.updates"] == 4
    assert all(torch.equal(found[name], expected[name]) for name in expected)
