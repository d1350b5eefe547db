"""The 3-D head: targets, predictions, and gradients of its layers."""

import copy
import math

import pytest
import torch
from mmdet.structures import DetDataSample
from mmengine.config import Config
from mmengine.registry import MODELS, init_default_scope
from mmengine.structures import InstanceData
from oracle_outputs import oracle_outputs

from drivemim.data.classes import ATTRIBUTES, CLASS_ATTRIBUTES, DETECTION_CLASSES
from drivemim.errors import ConfigError, DataError
from drivemim.models.heads.mono3d_boxes import nms_bev

CAR, PERSON, CONE = 0, 1, 2
HEIGHT, WIDTH = 64, 96
CAMERA = torch.tensor([[80.0, 0.0, 48.0], [0.0, 80.0, 32.0], [0.0, 0.0, 1.0]])
# A camera 1.5 m high that looks along global x, pitched down by a tenth.
POSE = torch.tensor([[0, -0.1, 1, 3], [-1, 0, 0, 4], [0, -1, -0.1, 1.5], [0, 0, 0, 1.0]])
POSE[:3, 1:3] /= POSE[:3, 1:3].norm(dim=0)
SIZES = [(HEIGHT // stride, WIDTH // stride) for stride in (8, 16)]


def make_head(**others):
    init_default_scope("mmdet")
    torch.manual_seed(0)
    head = MODELS.build(
        dict(
            type="drivemim.Mono3DHead",
            num_classes=3,
            in_channels=32,
            feat_channels=32,
            stacked_convs=1,
            strides=[8, 16],
            level_limits=[24],
            bbox_coder=dict(
                type="drivemim.Mono3DCoder",
                class_sizes=[[1.9, 4.5, 1.6], [0.7, 0.7, 1.75], [0.4, 0.4, 1.0]],
            ),
            class_attributes=[[2, 3], [0, 1], []],
            test_cfg=dict(score_thr=0.05, nms_pre=100, max_per_img=50),
        )
        | others
    )
    head.init_weights()
    return head


def sample_of(*rows, ignored=(), **others):
    """A data sample of rows of label, center, size, yaw, velocity, attribute and box."""
    kinds = dict(labels=torch.int64, centers=torch.float32, sizes=torch.float32)
    kinds |= dict(yaws=torch.float32, velocities=torch.float32, attributes=torch.int64)
    kinds |= dict(bboxes=torch.float32)
    shapes = dict(centers=(-1, 3), sizes=(-1, 3), velocities=(-1, 2), bboxes=(-1, 4))
    columns = zip(*rows, strict=True) if rows else [()] * len(kinds)
    sample = DetDataSample()
    sample.gt_instances = InstanceData(
        **{
            name: torch.tensor(column, dtype=kind).reshape(shapes.get(name, (-1,)))
            for (name, kind), column in zip(kinds.items(), columns, strict=True)
        }
    )
    sample.ignored_instances = InstanceData(bboxes=torch.tensor(ignored).reshape(-1, 4))
    meta = dict(camera_matrix=CAMERA.numpy(), camera_to_global=POSE.double().numpy())
    meta |= dict(img_shape=(HEIGHT, WIDTH), scale_factor=(0.5, 0.25), img_path="a.jpg")
    sample.set_metainfo(meta | others)
    return sample


NAN = math.nan
TRUE = sample_of(
    (CAR, [-3.0, 1.0, 10.0], [1.8, 4.2, 1.5], 2.5, [1.0, -4.0], 3, [4.0, 24.0, 40.0, 48.0]),
    (PERSON, [2.0, 0.8, 12.0], [0.6, 0.6, 1.7], -0.4, [0.5, 0.0], 0, [58.0, 30.0, 64.0, 42.0]),
    (CONE, [4.0, 1.2, 9.0], [0.4, 0.5, 0.8], 0.9, [NAN, NAN], -1, [80.0, 38.0, 88.0, 46.0]),
)
EMPTY = sample_of()


def losses_of(head, outputs, *samples):
    return head.loss_by_feat(
        *outputs,
        [each.gt_instances for each in samples],
        [each.metainfo for each in samples],
        [each.ignored_instances for each in samples],
    )


def centerness_of(head, sample):
    """Of the locations that must find an object."""
    (targets,) = head.get_targets(head.locations(SIZES), [sample.gt_instances], [sample.metainfo])
    return targets.centerness_P


def test_a_perfect_network_has_no_loss():
    head = make_head()
    outputs = oracle_outputs(head, [EMPTY, TRUE], SIZES)
    losses = losses_of(head, outputs, EMPTY, TRUE)
    wanted = centerness_of(head, TRUE)
    # A target between 0 and 1 keeps its own entropy.
    entropy = torch.nn.functional.binary_cross_entropy(wanted, wanted)
    torch.testing.assert_close(losses.pop("loss_centerness"), entropy, atol=1e-4, rtol=0)
    assert set(losses) == {
        f"loss_{name}"
        for name in (
            "cls",
            "offset",
            "depth",
            "size",
            "angle",
            "velocity",
            "direction",
            "attribute",
        )
    }
    for name, loss in losses.items():
        assert 0 <= float(loss) < 1e-5, name


def test_a_perfect_network_is_decoded_to_the_truth():
    head = make_head()
    outputs = oracle_outputs(head, [EMPTY, TRUE], SIZES)
    nothing, found = head.predict_by_feat(*outputs, [EMPTY.metainfo, TRUE.metainfo])
    assert len(nothing) == 0
    assert nothing.bboxes.shape == (0, 4)
    truth = TRUE.gt_instances
    for row in range(3):
        mine = found[found.labels == row]
        assert len(mine) >= 1
        count = len(mine)
        for name in ("centers", "sizes", "yaws", "velocities"):
            torch.testing.assert_close(
                mine[name],
                truth[name][row].nan_to_num().expand_as(mine[name]),
                atol=1e-4,
                rtol=1e-4,
            )
        assert mine.attributes.tolist() == [int(truth.attributes[row])] * count
    # Sure of every class, so that what is left is how near the object's centre is: best first.
    wanted = centerness_of(head, TRUE).sort(descending=True).values
    torch.testing.assert_close(found.scores, wanted[wanted > 0.05], atol=1e-5, rtol=0)


def test_losses_by_hand():
    """One positive location, moved by known amounts: smooth L1 with beta 1/9 is |x| - 1/18."""
    one = sample_of((CAR, [0.0, 0.0, 8.0], [1.9, 4.5, 1.6], 1.0, [1.0, 2.0], 2, [44, 28, 52, 36.0]))
    head = make_head(center_radius=0.0)
    outputs = oracle_outputs(head, [one], SIZES)
    rows = (outputs[0][0][0, CAR] > 0).nonzero()
    assert len(rows) == 1
    y, x = rows[0]
    outputs[1][0][0, :, y, x] += torch.tensor([1.0, 0, 2, 0, 0, 3, 0, 0, 4, 0])
    outputs[3][0][0, :, y, x] = 0.0
    outputs[2][0][0, 0, y, x] = 0.0
    losses = losses_of(head, outputs, one)
    less = 1 / 18
    for name, expected in {
        "offset": 1 - less,
        "depth": 2 - less,
        "size": 3 - less,
        "angle": 0.0,
        "velocity": 0.05 * (4 - less),
        "direction": math.log(2),
        "attribute": math.log(4),
    }.items():
        assert float(losses[f"loss_{name}"]) == pytest.approx(expected, abs=1e-5), name


def features(count=1):
    return [torch.randn(count, 32, *size) for size in SIZES]


def gradients(head, *samples):
    head.zero_grad()
    losses = head.loss(features(len(samples)), list(samples))
    sum(losses.values()).backward()
    return losses, {name: each.grad for name, each in head.named_parameters()}


@pytest.mark.parametrize("samples", [[TRUE], [TRUE, EMPTY], [EMPTY]], ids=["some", "both", "none"])
def test_every_layer_has_a_finite_gradient(samples):
    """Also without objects, where DistributedDataParallel would wait for a missing one."""
    losses, found = gradients(make_head(), *samples)
    for name, gradient in found.items():
        assert gradient is not None, name
        assert gradient.isfinite().all(), name
    assert all(each.isfinite() for each in losses.values())
    assert found["conv_reg.weight"].any() == (TRUE in samples)
    assert found["conv_cls.weight"].any()


def test_an_unknown_velocity_or_attribute_teaches_nothing():
    unknown = sample_of(
        (CAR, [0.0, 0.0, 8.0], [2.0, 4.0, 1.5], 1.0, [NAN, NAN], -1, [44, 28, 52, 36.0])
    )
    losses, found = gradients(make_head(), unknown)
    assert losses["loss_velocity"].item() == losses["loss_attribute"].item() == 0
    assert not found["conv_reg.weight"][8:].any()
    assert found["conv_reg.weight"][:8].any()
    assert not found["conv_attribute.weight"].any()


def test_ignored_objects_are_not_trained_as_background():
    head = make_head()
    plain = sample_of()
    ignoring = sample_of(ignored=[[0.0, 0.0, 16.0, 8.0]])
    outputs = oracle_outputs(head, [plain], SIZES)
    outputs[0][0][0, CAR, 0, :2] = 3.0  # sure of cars at (4, 4) and (12, 4)
    assert float(losses_of(head, outputs, plain)["loss_cls"]) > 1
    assert float(losses_of(head, outputs, ignoring)["loss_cls"]) < 1e-5


def test_an_object_has_an_attribute_of_its_class():
    head = make_head()
    outputs = oracle_outputs(head, [TRUE], SIZES)
    for level in outputs[3]:
        level[:] = torch.tensor([3.0, 1.0, 1.0, 2.0]).reshape(4, 1, 1)
    found = head.predict_by_feat(*outputs, [TRUE.metainfo])[0]
    chosen = {int(each.labels): int(each.attributes) for each in found}
    assert chosen == {CAR: 3, PERSON: 0, CONE: -1}


def test_classes_may_all_be_without_attributes():
    head = make_head(class_attributes=[[], [], []])
    car = sample_of(
        (CAR, [0.0, 0.0, 8.0], [2.0, 4.0, 1.5], 1.0, [1.0, 2.0], -1, [44, 28, 52, 36.0])
    )
    losses, found = gradients(head, car)
    assert losses["loss_attribute"].item() == 0
    assert all(each.isfinite().all() for each in found.values())
    cfg = dict(score_thr=0.0, nms_pre=5, max_per_img=-1)
    (objects,) = head.predict_by_feat(*head(features()), [car.metainfo], cfg=cfg)
    assert objects.attributes.tolist() == [-1] * 5  # -1 is no limit, as in MMDetection


def test_boxes_bound_the_visible_part_of_the_object():
    """A cube of 2 m, 8 m straight ahead: its near face is at 7 m along a level view."""
    level = torch.tensor([[0, 0, 1, 0], [-1, 0, 0, 0], [0, -1, 0, 1.5], [0, 0, 0, 1.0]])
    cube = sample_of(
        (CAR, [0.0, 0.0, 8.0], [2.0, 2.0, 2.0], 0.0, [0.0, 0.0], 2, [36, 20, 60, 44.0]),
        camera_to_global=level.numpy(),
    )
    head = make_head()
    outputs = oracle_outputs(head, [cube], SIZES)
    reach = 80 / 7
    seen = torch.tensor([48 - reach, 32 - reach, 48 + reach, 32 + reach])
    found = head.predict_by_feat(*outputs, [cube.metainfo])[0]
    torch.testing.assert_close(found.bboxes, seen.expand_as(found.bboxes))
    stored = head.predict_by_feat(*outputs, [cube.metainfo], rescale=True)[0]
    expected = seen / torch.tensor([0.5, 0.25, 0.5, 0.25])
    torch.testing.assert_close(stored.bboxes, expected.expand_as(stored.bboxes))


def test_of_overlapping_boxes_of_a_class_the_best_is_kept():
    """Copies of each object fall away; objects of two classes in one place do not."""
    twice = sample_of(
        (CAR, [-3.0, 1.0, 10.0], [1.8, 4.2, 1.5], 2.5, [1.0, -4.0], 3, [4.0, 24.0, 40.0, 48.0]),
        (PERSON, [-3.0, 1.0, 10.1], [0.6, 0.6, 1.7], 0.0, [0.5, 0.0], 0, [20, 34, 28, 46.0]),
        (CAR, [9.0, 1.0, 30.0], [1.8, 4.2, 1.5], 0.0, [0.0, 0.0], 3, [64, 30, 80, 40.0]),
    )
    nms = dict(type="nms_rotated", iou_threshold=0.2)
    head = make_head(test_cfg=dict(score_thr=0.01, nms_pre=100, nms=nms, max_per_img=50))
    outputs = oracle_outputs(head, [twice], SIZES)
    everything = head.predict_by_feat(*outputs, [twice.metainfo], with_nms=False)[0]
    assert len(everything) > 6
    found = head.predict_by_feat(*outputs, [twice.metainfo])[0]
    assert sorted(found.labels.tolist()) == [CAR, CAR, PERSON]
    for label in CAR, PERSON:
        best = everything.scores[everything.labels == label].max()
        assert found.scores[found.labels == label].max() == best
    short = head.predict_by_feat(
        *outputs, [twice.metainfo], cfg={**head.test_cfg, "max_per_img": 2}
    )[0]
    assert torch.equal(short.scores, found.scores[:2])


def test_neighbours_in_a_slanted_row_are_both_kept():
    """Cars parked side by side, turned by 45 degrees: 2.2 m apart across, 1.8 m wide."""
    side = 2.2 * math.sqrt(0.5)
    cars = InstanceData(
        scores=torch.tensor([0.9, 0.8, 0.7]),
        labels=torch.zeros(3, dtype=torch.int64),
        centers=torch.tensor([[-9.0, 1, 20], [-9 + side, 1, 20 + side], [-9.0, 1, 20.1]]),
        sizes=torch.tensor([1.8, 4.2, 1.5]).expand(3, 3),
        yaws=torch.full((3,), math.pi / 4),  # to the right and towards the camera
    )
    kept = nms_bev(cars, dict(type="nms_rotated", iou_threshold=0.2))
    torch.testing.assert_close(kept.scores, torch.tensor([0.9, 0.8]))
    assert len(nms_bev(cars, None)) == 3


def mirrored(sample):
    """The same in a mirrored image, as a pipeline does it."""
    flipped = copy.deepcopy(sample)
    truth = flipped.gt_instances
    side = torch.tensor([-1.0, 1.0, 1.0])
    truth.centers, truth.velocities = truth.centers * side, truth.velocities * side[:2]
    truth.yaws = math.pi - truth.yaws
    truth.bboxes = (truth.bboxes * torch.tensor([-1, 1, -1, 1]))[:, [2, 1, 0, 3]]
    truth.bboxes[:, [0, 2]] += WIDTH
    camera = CAMERA.clone()
    camera[0, 2] = WIDTH - camera[0, 2]
    pose = POSE.double() @ torch.diag(torch.tensor([-1.0, 1, 1, 1])).double()
    flipped.set_metainfo(dict(camera_matrix=camera, camera_to_global=pose))
    return flipped


def test_a_mirrored_image_has_mirrored_targets():
    head = make_head()
    outputs = oracle_outputs(head, [TRUE, mirrored(TRUE)], SIZES)
    signs = torch.tensor([-1.0, 1, 1, 1, 1, 1, -1, 1, -1, 1]).reshape(10, 1, 1)
    for scores, codes, _, attributes, centerness in zip(*outputs, strict=True):
        for maps in scores, attributes, centerness:
            torch.testing.assert_close(maps[1], maps[0].flip(-1), atol=1e-4, rtol=1e-4)
        torch.testing.assert_close(codes[1], signs * codes[0].flip(-1), atol=1e-4, rtol=1e-4)
    plain, other = head.predict_by_feat(*outputs, [TRUE.metainfo, mirrored(TRUE).metainfo])
    swapped = (WIDTH - other.bboxes)[:, [2, 0]]
    assert sorted(swapped[:, 0].tolist()) == pytest.approx(
        sorted(plain.bboxes[:, 0].tolist()), abs=1e-2
    )


def test_half_precision_outputs_are_decoded_in_full():
    head = make_head()
    outputs = [[each.half() for each in maps] for maps in oracle_outputs(head, [TRUE], SIZES)]
    found = head.predict_by_feat(*outputs, [TRUE.metainfo])[0]
    assert found.centers.dtype == torch.float32
    assert all(each.isfinite() for each in losses_of(head, outputs, TRUE).values())


@pytest.mark.parametrize("output", range(5))
def test_outputs_that_are_not_finite_are_named_by_their_sample(output):
    head = make_head()
    outputs = [[each.clone() for each in maps] for maps in oracle_outputs(head, [TRUE], SIZES)]
    outputs[output][0][0, 0, 0, 0] = torch.nan
    meta = {**TRUE.metainfo, "sample_token": "sample-7"}
    with pytest.raises(DataError, match=r"\(sample sample-7\) are not all finite"):
        head.predict_by_feat(*outputs, [meta])


def test_an_image_without_calibration_is_refused():
    head = make_head()
    bare = DetDataSample(metainfo=dict(img_path="street.jpg", img_shape=(HEIGHT, WIDTH)))
    with pytest.raises(ConfigError, match="street.jpg comes without 'camera_matrix'"):
        head.predict(features(), [bare])


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        (dict(class_attributes=[[0]]), "class_attributes has 1 rows for 3 classes"),
        (dict(num_classes=4), "for 4 classes"),
        (dict(level_limits=[]), "level_limits"),
        (dict(strides=[8, 16, 32], level_limits=[48, 24]), "must ascend"),
        (dict(code_weights=dict(yaw=1.0)), "'yaw'"),
        (dict(code_weights=dict(velocity=-1.0)), "code_weights.velocity -1.0 must be 0 or more"),
        (dict(center_radius=-1.5), "center_radius -1.5 must be 0 or more"),
        (dict(min_depth=-1.0), "min_depth -1.0 must be 0 or more"),
        (dict(centerness_decay=-2.5), "centerness_decay -2.5 must be 0 or more"),
    ],
)
def test_settings_that_do_not_fit_are_refused(settings, words):
    with pytest.raises(ConfigError, match=words):
        make_head(**settings)


def test_the_config_numbers_attributes_as_the_data_does(repository):
    head = Config.fromfile(repository / "configs/_base_/models/fcos3d.py").model.bbox_head
    assert head.num_classes == len(DETECTION_CLASSES)
    named = [[ATTRIBUTES[number] for number in row] for row in head.class_attributes]
    assert named == [list(CLASS_ATTRIBUTES[name]) for name in DETECTION_CLASSES]
