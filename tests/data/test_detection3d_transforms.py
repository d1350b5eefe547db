"""Loading, mirroring and packing of 3-D items: pixels and boxes stay together."""

import numpy as np
import pytest
import torch
from mmdet.models.data_preprocessors import DetDataPreprocessor
from mmengine.dataset import pseudo_collate

from drivemim.data.detection.detection3d_dataset import FrameDetection3D
from drivemim.data.detection.detection3d_transforms import FlipFrame3D, LoadBoxes3D, PackBoxes3D
from drivemim.data.detection.detection_transforms import LoadReducedImage
from drivemim.errors import ConfigError
from drivemim.geometry import boxes_to_global
from drivemim.geometry.camera_boxes import CameraBoxes

SIZE = (24, 48)  # the small data set's images are 48 x 64


@pytest.fixture
def dataset(small_index):
    return FrameDetection3D(index=small_index, filters={"min_points": 9})


@pytest.fixture
def loaded(dataset):
    """Items as they are before mirroring."""
    infos = [dataset.get_data_info(row) for row in range(len(dataset))]
    return [LoadBoxes3D()(LoadReducedImage(image_size=SIZE)(info)) for info in infos]


def project(matrix, points):
    pixels = np.asarray(points, float) @ np.asarray(matrix).T
    return pixels[:, :2] / pixels[:, 2:]


def in_global(results):
    boxes = CameraBoxes(
        centers_M3=np.asarray(results["gt_centers"], float),
        sizes_M3=np.asarray(results["gt_sizes"], float),
        yaws_M=np.asarray(results["gt_yaws"], float),
        velocities_M2=np.asarray(results["gt_velocities"], float),
    )
    return boxes_to_global(boxes, results["camera_to_global"])


def test_the_camera_matrix_follows_the_image(dataset, loaded):
    for row, results in enumerate(loaded):
        stored = dataset.get_data_info(row)
        centers = [each["center"] for each in stored["instances"]]
        before = project(stored["camera_matrix"], np.reshape(centers, (-1, 3)))
        after = project(results["camera_matrix"], results["gt_centers"])
        np.testing.assert_allclose(after, before * [48 / 64, 24 / 48], atol=1e-3)
    assert loaded[0]["camera_matrix"].tolist() == [[30, 0, 24], [0, 20, 12], [0, 0, 1]]


def test_mirroring_moves_everything_together(loaded):
    boxes = 0
    for results in loaded:
        mirrored = FlipFrame3D(prob=1.0)(
            {**results, "gt_bboxes": results["gt_bboxes"].clone(), "img": results["img"].copy()}
        )
        assert mirrored["flip"]
        assert (mirrored["img"] == results["img"][:, ::-1]).all()
        pixels = project(results["camera_matrix"], results["gt_centers"])
        moved = project(mirrored["camera_matrix"], mirrored["gt_centers"])
        np.testing.assert_allclose(moved[:, 0], SIZE[1] - pixels[:, 0], atol=1e-4)
        np.testing.assert_allclose(moved[:, 1], pixels[:, 1], atol=1e-4)
        old, new = results["gt_bboxes"].tensor.numpy(), mirrored["gt_bboxes"].tensor.numpy()
        np.testing.assert_allclose(new[:, [0, 2]], SIZE[1] - old[:, [2, 0]], atol=1e-4)
        assert mirrored["camera_matrix"][0, 0] > 0
        # The mirrored pose leads back to the very same boxes of the real world.
        for there, here in zip(in_global(mirrored), in_global(results), strict=True):
            np.testing.assert_allclose(there, here, atol=1e-5)
        boxes += len(old)
    assert boxes >= 12


def test_mirroring_twice_restores_the_item_and_draws_are_from_numpy(loaded):
    results = dict(loaded[0])
    twice = FlipFrame3D(prob=1.0)(FlipFrame3D(prob=1.0)({**results}))
    for key in ("img", "gt_centers", "gt_yaws", "gt_velocities", "camera_matrix"):
        np.testing.assert_allclose(twice[key], loaded[0][key], atol=1e-6)
    np.random.seed(0)  # 0.549, 0.715, 0.603
    flips = [FlipFrame3D(prob=0.6)({**results})["flip"] for _ in range(3)]
    assert flips == [True, False, False]
    with pytest.raises(ConfigError, match="prob=2"):
        FlipFrame3D(prob=2)


def test_packed_items_have_the_format_of_detectors(loaded):
    packed = [PackBoxes3D()(results) for results in loaded]
    ignored = sum(len(each["data_samples"].ignored_instances) for each in packed)
    assert ignored > 0
    batch = DetDataPreprocessor(bgr_to_rgb=True)(pseudo_collate(packed))
    assert batch["inputs"].shape == (9, 3, *SIZE)
    for sample, results in zip(batch["data_samples"], loaded, strict=True):
        found, flags = sample.gt_instances, results["gt_ignore_flags"]
        assert len(found) == (~flags).sum()
        assert len(sample.ignored_instances) == flags.sum()
        assert isinstance(found.bboxes, torch.Tensor)
        assert found.centers.dtype == found.yaws.dtype == torch.float32
        assert found.attributes.dtype == found.labels.dtype == torch.int64
        np.testing.assert_array_equal(found.centers.numpy(), results["gt_centers"][~flags])
        assert found.sizes.shape == found.centers.shape == (len(found), 3)
        assert found.velocities.shape == (len(found), 2)
        np.testing.assert_array_equal(sample.camera_matrix, results["camera_matrix"])
        assert sample.camera_to_global.shape == (4, 4)
        assert sample.sample_token == results["sample_token"]
        assert sample.img_shape == SIZE


def test_a_wrong_pipeline_is_named(dataset):
    info = dataset.get_data_info(0)
    with pytest.raises(ConfigError, match="comes after drivemim.LoadReducedImage"):
        LoadBoxes3D()(dict(info))
    del info["camera_matrix"]
    with pytest.raises(ConfigError, match="take drivemim.FrameDetection3D"):
        LoadBoxes3D()(LoadReducedImage(image_size=SIZE)(info))
