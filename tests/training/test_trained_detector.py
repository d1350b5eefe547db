import cv2
import numpy as np
import pytest
import torch
from color_images import BLUE_BOX, RED_BOX, SIZE, color_image, write_checkpoint, write_image
from mmengine.registry import DefaultScope
from mmengine.runner import Runner

from drivemim.config.building import build_model
from drivemim.config.loading import load_config
from drivemim.data.detection.prediction_source import PredictionSource, UnreadableImages
from drivemim.data.index.builders.frames import build_frames_index
from drivemim.errors import CheckpointError, ConfigError
from drivemim.training.trained_detector import TrainedDetector

PACK = {
    "type": "PackDetInputs",
    "meta_keys": ("img_id", "img_path", "ori_shape", "img_shape", "scale_factor"),
}
PIPELINES = {
    # Resizes 400 x 200 to 100 x 100 pixels; the model pads to 128 x 128.
    "squashed": [{"type": "drivemim.LoadReducedImage", "image_size": (100, 100)}, PACK],
    "instances": [
        {"type": "drivemim.LoadReducedInstances", "image_size": (50, 200)},
        {"type": "LoadAnnotations", "with_bbox": True, "with_mask": True},
        PACK,
    ],
    "own size": [{"type": "LoadImageFromFile", "to_float32": True}, PACK],
    "keeps its ratio": [
        {"type": "LoadImageFromFile", "backend_args": None},
        {"type": "Resize", "scale": (160, 100), "keep_ratio": True},
        {"type": "Pad", "size": (160, 192), "pad_val": {"img": (114, 114, 114)}},
        {"type": "LoadAnnotations", "with_bbox": True},
        PACK,
    ],
    "enlarged": [
        {"type": "LoadImageFromFile"},
        {"type": "Resize", "scale": (800, 600), "keep_ratio": False},
        PACK,
    ],
}
DATASET = "test_dataloader.dataset"


@pytest.fixture
def config(repository):
    return repository / "tests" / "toys" / "configs" / "color_detector.py"


@pytest.fixture
def checkpoint(tmp_path):
    return write_checkpoint(tmp_path / "weights.pth")


def first(path):
    return next(PredictionSource(path=path).images(UnreadableImages(skip=False)))


@pytest.mark.parametrize("name", PIPELINES)
def test_boxes_are_in_the_pixels_of_the_image(config, checkpoint, tmp_path, name):
    """The sides of the boxes are at whole pixels in every resized image, so boxes are exact."""
    image = first(write_image(tmp_path / "images" / "wide.png"))
    assert image.size == SIZE
    detector = TrainedDetector(config, checkpoint, options={f"{DATASET}.pipeline": PIPELINES[name]})
    boxes, labels, scores = detector.find(image)
    # The red object is a pedestrian, so no step has swapped the channels.
    assert [detector.classes[label] for label in labels] == ["pedestrian", "vehicle"]
    np.testing.assert_allclose(scores, [0.9, 0.4], rtol=1e-6)
    np.testing.assert_allclose(boxes, [RED_BOX, BLUE_BOX], rtol=0, atol=1e-4)


@pytest.mark.parametrize(
    ("name", "warning"),
    [
        (
            "squashed",
            "2.00 times too high. Unless the detector was trained on such images, detections are "
            'worse. --cfg-options "test_dataloader.dataset.pipeline.0.image_size=(71,142)" keeps',
        ),
        ("instances", "400x200 pixels (width x height) 2.00 times too wide"),
        (
            "enlarged",
            "1.50 times too high. Unless the detector was trained on such images, detections are "
            "worse. a scale of (980, 490) (width, height) keeps their proportions",
        ),
        ("own size", None),
        ("keeps its ratio", None),
    ],
)
def test_stretched_images_are_warned_of_once(config, checkpoint, tmp_path, name, warning, capsys):
    """A config with height and width swapped stretches images, too, like these pipelines."""
    image = first(write_image(tmp_path / "images" / "wide.png"))
    detector = TrainedDetector(config, checkpoint, options={f"{DATASET}.pipeline": PIPELINES[name]})
    for _ in range(2):
        detector.find(image)
    warnings = [each for each in capsys.readouterr().out.splitlines() if "times too" in each]
    assert len(warnings) == (warning is not None)
    assert all(warning in each and str(image.path) in each for each in warnings)


def test_a_second_resize_is_refused(config, checkpoint):
    """MMDetection would scale boxes back by the second resize only."""
    pipeline = [*PIPELINES["squashed"][:1], {"type": "Resize", "scale": (50, 50)}, PACK]
    with pytest.raises(ConfigError, match="LoadReducedImage resizes the images already. With Res"):
        TrainedDetector(config, checkpoint, options={f"{DATASET}.pipeline": pipeline})


def test_boxes_are_scaled_by_the_shape_of_each_image(config, checkpoint, tmp_path):
    red = [30, 300, 60, 330]
    tall = first(write_image(tmp_path / "tall.png", color_image(red, None, (600, 150))))
    boxes, labels, _ = TrainedDetector(config, checkpoint).find(tall)
    # The image of 150 x 600 pixels is resized to 100 x 100.
    np.testing.assert_allclose(boxes, [red], rtol=0, atol=1e-4)
    assert labels.tolist() == [0]


def test_a_jpeg_is_read_like_in_testing(config, checkpoint, tmp_path):
    """1600 x 800 is decoded at an eighth; its boxes are multiples of 16 pixels."""
    red, blue = [320, 160, 640, 480], [960, 400, 1600, 800]
    path = write_image(tmp_path / "large.jpg", color_image(red, blue, (800, 1600)))
    boxes, _, _ = TrainedDetector(config, checkpoint).find(first(path))
    np.testing.assert_allclose(boxes, [red, blue], rtol=0, atol=1e-3)


def test_min_score_leaves_out_detections_and_may_leave_none(config, checkpoint, tmp_path):
    image = first(write_image(tmp_path / "0.png"))
    detector = TrainedDetector(config, checkpoint)
    assert detector.find(image, min_score=0.4).labels_D.tolist() == [0, 1]
    assert detector.find(image, min_score=0.5).labels_D.tolist() == [0]
    boxes, labels, scores = detector.find(image, min_score=0.95)
    assert (boxes.shape, labels.shape, scores.shape) == ((0, 4), (0,), (0,))


def test_boxes_end_at_the_border(config, checkpoint, tmp_path):
    """The model sees a padded image and may predict boxes that reach into the padding."""
    image = first(write_image(tmp_path / "0.png", color_image([0, 0, 400, 200], None)))
    detector = TrainedDetector(config, checkpoint)
    predict = detector._model.predict

    def wider(inputs, samples, rescale=True):
        (sample,) = predict(inputs, samples, rescale)
        sample.pred_instances.bboxes += torch.tensor([-3.0, -3.0, 5.0, 5.0])
        return [sample]

    detector._model.predict = wider
    assert detector.find(image).boxes_D4.tolist() == [[0, 0, 400, 200]]


def test_predictions_equal_those_of_a_test(repository, tmp_path):
    """Run one random detector on the data set of ``drivemim test`` and on the index behind it."""
    draw = np.random.default_rng(0)
    for number in range(2):
        noise = draw.integers(0, 256, (9, 16, 3), dtype=np.uint8)
        write_image(tmp_path / "images" / f"{number}.jpg", cv2.resize(noise, (640, 360)))
    index = build_frames_index([tmp_path / "images"], tmp_path / "index.arrow")
    options = {
        "test_dataloader.dataset.index": str(index),
        "test_dataloader.dataset.scenes": None,
        "test_dataloader.batch_size": 1,
        "model.test_cfg.score_thr": 0.0,
    }
    cfg = load_config("atss_vit_micro_town", options)
    torch.manual_seed(0)
    model = build_model(cfg, "atss").eval()
    torch.save({"state_dict": model.state_dict()}, tmp_path / "random.pth")
    with DefaultScope.overwrite_default_scope("mmdet"), torch.no_grad():
        loader = Runner.build_dataloader(cfg.test_dataloader)
        tested = [model.test_step(batch)[0].pred_instances for batch in loader]
    detector = TrainedDetector("atss_vit_micro_town", tmp_path / "random.pth", options=options)
    assert detector.classes == ("pedestrian", "vehicle")
    images = list(PredictionSource(path=index).images(UnreadableImages(skip=False)))
    assert len(images) == len(tested) == 2
    for image, expected in zip(images, tested, strict=True):
        boxes, labels, scores = detector.find(image)
        assert len(scores) == 100
        np.testing.assert_array_equal(scores, expected.scores.numpy())
        np.testing.assert_array_equal(labels, expected.labels.numpy())
        np.testing.assert_allclose(
            boxes, expected.bboxes.numpy().clip(0, [640, 360, 640, 360]), rtol=1e-6
        )


def refused(error, config, checkpoint, **options):
    with pytest.raises(error) as found:
        TrainedDetector(config, checkpoint, options=options)
    assert "\n" not in str(found.value)
    return str(found.value)


def test_other_configs_are_refused_by_name(checkpoint, tmp_path):
    found = refused(ConfigError, "vit_micro_town", checkpoint)
    assert found.startswith("vit_micro_town is a pretraining config, whose model finds no objects")
    found = refused(ConfigError, "fcos3d_resnet50_nuscenes", checkpoint)
    assert "is a 3-D detector (FrameDetection3D)" in found
    assert "drivemim test evaluates it" in found
    (tmp_path / "empty.py").write_text("default_scope = 'mmdet'\n")
    assert "has no model" in refused(ConfigError, tmp_path / "empty.py", checkpoint)


def test_a_config_without_a_usable_pipeline_is_refused(config, checkpoint):
    found = refused(ConfigError, config, checkpoint, **{f"{DATASET}.pipeline": []})
    assert "has no pipeline in its test_dataloader" in found
    found = refused(ConfigError, config, checkpoint, **{f"{DATASET}.pipeline": [PACK]})
    assert "begins with PackDetInputs; it has to begin with LoadImageFromFile, dr" in found
    grey = [{"type": "LoadImageFromFile", "color_type": "grayscale"}, PACK]
    found = refused(ConfigError, config, checkpoint, **{f"{DATASET}.pipeline": grey})
    assert "color_type='grayscale'; only colour images" in found
    size = {f"{DATASET}.pipeline.0.image_sise": 3}
    found = refused(ConfigError, config, checkpoint, **size)
    assert "LoadReducedImage has no argument 'image_sise'; did you mean 'image_size'?" in found


def test_a_head_with_other_classes_than_the_data_is_refused(config, checkpoint):
    found = refused(ConfigError, config, checkpoint, **{"model.num_classes": 3})
    assert found == (
        "model.bbox_head.num_classes=3, but test_dataloader has the 2 classes pedestrian, vehicle; "
        "set model.bbox_head.num_classes=2"
    )


def test_a_model_that_gives_no_boxes_is_refused(config, checkpoint, tmp_path):
    image = first(write_image(tmp_path / "0.png"))
    detector = TrainedDetector(config, checkpoint, options={"model.with_boxes": False})
    with pytest.raises(ConfigError, match="ColorDetector gives no boxes"):
        detector.find(image)


def test_classes_of_the_checkpoint_and_of_the_config_must_be_the_same(config, tmp_path):
    swapped = write_checkpoint(tmp_path / "swapped.pth", ("vehicle", "pedestrian"))
    found = refused(ConfigError, config, swapped)
    assert "the checkpoint has the classes vehicle, pedestrian, but test_dataloader has" in found
    unnamed = write_checkpoint(tmp_path / "unnamed.pth", None)
    assert TrainedDetector(config, unnamed).classes == ("pedestrian", "vehicle")


def test_classes_of_other_data_sets_come_from_the_checkpoint(config, tmp_path):
    """``CocoDataset`` has 80 classes by default; the config's metainfo names two."""
    coco = {
        "type": "CocoDataset",
        "ann_file": "none.json",
        "metainfo": {"classes": ("cat", "dog")},
        "pipeline": PIPELINES["own size"],
    }
    options = {DATASET: {"_delete_": True, **coco}}
    named = write_checkpoint(tmp_path / "named.pth", ("cat", "dog"))
    assert TrainedDetector(config, named, options=options).classes == ("cat", "dog")
    other = write_checkpoint(tmp_path / "other.pth", ("dog", "cat"))
    assert "the classes dog, cat, but" in refused(ConfigError, config, other, **options)


def test_classes_that_neither_checkpoint_nor_config_names_are_an_error(config, tmp_path):
    unnamed = write_checkpoint(tmp_path / "unnamed.pth", None)
    nameless = {"type": "BaseDetDataset", "pipeline": PIPELINES["own size"]}
    options = {DATASET: {"_delete_": True, **nameless}}
    found = refused(CheckpointError, config, unnamed, **options)
    assert "does not name its classes, and neither does test_dataloader" in found
    options[DATASET] |= {"_delete_": True, "metainfo": {"classes": ["cat", "dog"]}}
    assert TrainedDetector(config, unnamed, options=options).classes == ("cat", "dog")


def test_a_checkpoint_of_another_model_is_refused(config, tmp_path):
    other = write_checkpoint(tmp_path / "other.pth", **{"backbone.extra": torch.ones(1)})
    found = refused(CheckpointError, config, other)
    assert f"{other} is of another model than the config's ColorDetector. It is a detector" in found
    assert "unexpected 1 (backbone.extra)" in found
    broken = write_checkpoint(tmp_path / "nan.pth", **{"backbone.bias": torch.tensor([np.nan])})
    assert "NaN or infinite in 1 (backbone.bias)" in refused(CheckpointError, config, broken)
    assert "there is no checkpoint at" in refused(FileNotFoundError, config, tmp_path / "no.pth")
    text = tmp_path / "text.pth"
    text.write_text("not weights")
    assert "not a checkpoint" in refused(CheckpointError, config, text)
