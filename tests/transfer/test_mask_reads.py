"""Inputs of a pretraining, from its masks and its data."""

import pytest
from mmengine.config import Config

from drivemim.data.boxes.box_sources import BoxSource
from drivemim.masking.random import RandomMask
from drivemim.masking.strategy import MaskStrategy
from drivemim.registry import BOX_SOURCES, MASKS
from drivemim.transfer.mask_reads import boxes_from, describe_reads, has_boxes
from drivemim.transfer.recipe import initial_weights_of

ANNOTATED = {"boxes": "AnnotatedBoxes", "boxes_from": "annotations", "annotated_frames": 3,
             "lidar_points": 0}  # fmt: skip
NOTHING = {"boxes": [], "tracks": [], "lidar": []}
OBJECT = {"boxes": ["ObjectMask"], "tracks": ["ObjectMask"], "lidar": []}


def reads(masking, *data, **model):
    cfg = Config({"model": {"type": "MaskedPretrainer", "masking": masking, **model}})
    return describe_reads(cfg, data or [ANNOTATED])


@pytest.mark.parametrize(
    ("masking", "expected"),
    [
        ({"type": "RandomMask"}, NOTHING),
        ({"type": "drivemim.ObjectMask"}, OBJECT),
        ({"type": "ObjectMask", "base": {"type": "WorldMask"}}, OBJECT),
        ({"type": "CausalMask", "base": {"type": "ObjectMask"}}, OBJECT),
        ({"type": "GuidedMask", "base": {"type": "WorldMask"}}, NOTHING),
        (
            {"type": "MixtureMask", "strategies": [{"type": "WorldMask"}, {"type": "ObjectMask"}]},
            OBJECT,
        ),
        (
            {"type": "StackMask", "budget_fractions": [0.5, 0.5], "strategies": [
                {"type": "TubeMask"},
                {"type": "CameraDropoutMask", "base": {"type": "ObjectMask"}},
            ]},
            OBJECT,
        ),
    ],
)  # fmt: skip
def test_inputs_of_nested_strategies_are_included(masking, expected):
    assert reads(masking) == expected


def test_missing_data_counts_as_not_read():
    world = {"type": "ObjectMask", "base": {"type": "WorldMask"}}
    lidar = {**ANNOTATED, "lidar_points": 100}
    assert reads(world, lidar) == {**OBJECT, "lidar": ["WorldMask"]}
    assert reads(world, {**ANNOTATED, "annotated_frames": 0}) == NOTHING
    assert reads(world, {**ANNOTATED, "boxes": None, "boxes_from": None}) == NOTHING
    # One of two data sets has boxes.
    assert reads(world, {**ANNOTATED, "annotated_frames": 0}, ANNOTATED) == OBJECT
    # Of an index that is gone the worst is assumed.
    gone = {key: value for key, value in ANNOTATED.items() if key != "annotated_frames"}
    assert has_boxes(gone)


@pytest.mark.parametrize(
    ("boxes", "origin"),
    [
        (None, None),
        ("AnnotatedBoxes", "annotations"),
        ("MotionBoxes", "images"),
        ({"type": "drivemim.MotionBoxes", "min_change": 0.1}, "images"),
        ({"type": "PseudoLabelBoxes", "file": "results.json"}, "detector"),
        # The earlier name of PseudoLabelBoxes, in checkpoints.
        ({"type": "DetectedBoxes", "file": "results.json"}, "detector"),
        ("drivemim.DetectedBoxes", "detector"),
        ("SomebodysBoxes", "annotations"),
    ],
)
def test_origins_of_boxes(boxes, origin):
    assert boxes_from(boxes) == origin


@pytest.mark.parametrize("origin", ["simulation", "", None, ["images"]])
def test_boxes_of_unknown_origin_are_assumed_to_be_annotations(monkeypatch, origin):
    made = type("SimulatedBoxes", (BoxSource,), {"origin": origin})
    monkeypatch.setitem(BOX_SOURCES.module_dict, "SimulatedBoxes", made)
    assert boxes_from({"type": "SimulatedBoxes"}) == "annotations"


def test_a_users_strategy_without_reads_reads_everything(monkeypatch):
    class SilentMask(MaskStrategy):
        def score(self, context):
            return RandomMask().score(context)

    monkeypatch.setitem(MASKS.module_dict, "SilentMask", SilentMask)
    assert reads({"type": "SilentMask"}) == {
        "boxes": ["SilentMask"], "tracks": ["SilentMask"], "lidar": [],
    }  # fmt: skip


@pytest.mark.parametrize("name", ["Nope.MyMask", "MyMask", "mypkg.MyObjectMask"])
def test_a_class_that_is_not_found_reads_everything(name):
    short = name.rpartition(".")[2]
    everything = {"boxes": [short], "tracks": [short], "lidar": []}
    assert reads({"type": name}) == everything
    assert reads({"type": "CausalMask", "base": {"type": name}}) == everything
    for part in ("target", "teacher", "decoder"):
        assert reads({"type": "RandomMask"}, **{part: {"type": name}}) == everything
    assert reads({"type": "RandomMask"}, auxiliary=[{"type": name}]) == everything
    # A backbone gets images only.
    assert reads({"type": "RandomMask"}, encoder={"backbone": {"type": name}}) == NOTHING
    assert reads({"type": "RandomMask"}, target={"type": "NormalizedPixels", "eps": 1}) == NOTHING


def test_a_target_from_lidar_reads_lidar():
    masks, auxiliary = {"type": "RandomMask"}, [{"type": "LidarTarget"}]
    found = reads(masks, {**ANNOTATED, "lidar_points": 512}, auxiliary=auxiliary)
    assert found == {**NOTHING, "lidar": ["LidarTarget"]}
    assert reads(masks, auxiliary=auxiliary) == NOTHING


def test_crops_around_objects_read_boxes():
    def found(focus, data=ANNOTATED):
        part = {"type": "ClipDataset", "augment": {"focus": focus}}
        loader = {"dataset": {"type": "ConcatDataset", "datasets": [part]}}
        cfg = Config({"model": {"masking": {"type": "RandomMask"}}, "train_dataloader": loader})
        return describe_reads(cfg, [data])

    assert found(0.5) == {**NOTHING, "boxes": ["augment.focus"]}
    assert found(0.0) == NOTHING
    assert found(0.5, {**ANNOTATED, "boxes": None}) == NOTHING


def test_initial_weights_of_a_run():
    def start(**config):
        return initial_weights_of(Config({"model": {}, **config}))

    assert start() == []
    assert start(load_from="mae.pth") == ["mae.pth"]
    assert start(load_from="iter_2.pth", resume=True) == []
    nested = {"encoder": {"type": "ViT", "init_cfg": {"type": "Pretrained", "checkpoint": "a.pth"}}}
    assert start(model=nested) == ["a.pth"]
    assert start(model={"encoder": {"init_cfg": {"type": "TruncNormal", "std": 0.02}}}) == []
    # A run moves what it starts from into a hook.
    hook = {"type": "drivemim.LoadBackbone", "checkpoint": "b.safetensors"}
    assert start(custom_hooks=[{"type": "EMAHook"}, hook]) == ["b.safetensors"]
    assert start(custom_hooks=[hook], model=nested) == ["b.safetensors", "a.pth"]
