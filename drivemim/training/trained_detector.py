"""A trained detector that finds objects in single images: config, checkpoint and test pipeline.

Letters: D detections.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NamedTuple

import cv2
import numpy as np
import torch
from mmengine.config import Config
from mmengine.dataset import BaseDataset, Compose, pseudo_collate
from mmengine.logging import print_log
from mmengine.registry import DefaultScope

from drivemim.array_types import Floats, Ints
from drivemim.compat import read_checkpoint
from drivemim.config.building import build_model, suppress_logs
from drivemim.config.loading import (
    config_errors,
    dicts_in,
    is_pretrainer,
    load_config,
)
from drivemim.config.nested import short_type
from drivemim.data.detection.detection_transforms import LoadReducedImage, LoadReducedInstances
from drivemim.data.detection.prediction_source import SourceImage
from drivemim.data.index.image_shapes import LARGEST_STRETCH, unstretched_size
from drivemim.errors import CheckpointError, ConfigError, DataError
from drivemim.registry import DATASETS, TRANSFORMS
from drivemim.training.agreement import check_one_resize, check_strides
from drivemim.training.class_agreement import (
    check_classes,
    check_proposals,
    check_same_classes,
    has_heads,
)
from drivemim.training.hooks.strict_load import checked_weights

_DATA = "test_dataloader"
"""Section of a config whose pipeline and classes are used."""
_COLORS = ("color", "color_ignore_orientation")
"""Values of ``color_type`` in MMDetection's loader that read colour images."""


class FoundObjects(NamedTuple):
    """Detections of one image, best first. D: number of detections.

    Attributes:
        boxes_D4: (x1, y1, x2, y2) inside the image, in its own pixels; pixel i spans [i, i + 1].
        labels_D: class of each detection, as a position in the detector's classes.
        scores_D: score of each detection, in [0, 1].
    """

    boxes_D4: Floats
    labels_D: Ints
    scores_D: Floats


class TrainedDetector:
    """A 2-D detector of MMDetection with the weights of a checkpoint, in evaluation mode.

    Images go through the config's test pipeline, but without its own loader: ``read_image`` reads
    them, like in pretraining and testing. They have no annotations.

    Args:
        config: path of an MMEngine config, or name of a shipped one. Its data need not exist.
        checkpoint: weights of exactly the config's model.
        device: where the detector runs.
        options: dotted config keys to replace.

    Attributes:
        classes: names of the classes; labels are positions in this tuple.

    Raises:
        ConfigError: if the config is invalid, contradicts itself or the checkpoint, or is not of a
            2-D detector.
        CheckpointError: if the checkpoint is damaged or of another model.
        FileNotFoundError: if the checkpoint does not exist.
    """

    classes: tuple[str, ...]

    def __init__(
        self,
        config: str | Path,
        checkpoint: str | Path,
        *,
        device: str = "cpu",
        options: Mapping[str, Any] | None = None,
    ) -> None:
        cfg = load_config(config, options)
        dataset = _test_dataset(cfg, config)
        self._scope = cfg.get("default_scope") or "mmdet"
        check_proposals(cfg.model)
        self._model = build_model(cfg, config)
        if not has_heads(self._model):
            raise ConfigError(
                f"{config}: {type(self._model).__name__} does not classify objects by a fixed list "
                "of classes; give a detector's config"
            )
        with DefaultScope.overwrite_default_scope(self._scope), config_errors():
            metainfo = _metainfo(dataset)
            self._pipeline = _pipeline(dataset["pipeline"], config)
        content = read_checkpoint(checkpoint)
        self.classes = _class_names(content, metainfo, checkpoint)
        known = SimpleNamespace(metainfo={**metainfo, "classes": self.classes})
        check_classes(self._model, known, _DATA if metainfo.get("classes") else str(checkpoint))
        check_strides(self._model)
        weights, _ = checked_weights(checkpoint, content, self._model)
        self._model.load_state_dict(weights)
        self._model.to(device).eval()
        self._has_warned = False

    @torch.no_grad()
    def find(self, image: SourceImage, *, min_score: float = 0.0) -> FoundObjects:
        """Detect objects.

        Args:
            image: the image.
            min_score: detections with a lower score are left out. The config's own limit, such as
                ``model.test_cfg.score_thr``, applies as well.

        Returns:
            The detections, best first.

        Raises:
            ConfigError: if the model gives no boxes.
            DataError: if the image cannot be read, or the pipeline cannot resize it.
        """
        with DefaultScope.overwrite_default_scope(self._scope), suppress_logs():
            data = self._prepare(image)
            (sample,) = self._model.test_step(pseudo_collate([data]))
        self._warn_if_stretched(image, sample)
        predicted = getattr(sample, "pred_instances", None)
        if predicted is None or "bboxes" not in predicted:
            raise ConfigError(f"{type(self._model).__name__} gives no boxes; give a detector's")
        predicted = predicted[predicted.scores >= min_score]
        predicted = predicted[predicted.scores.argsort(descending=True, stable=True)].cpu()
        edges = np.tile(np.array(image.size[::-1], float), 2)
        return FoundObjects(
            np.clip(predicted.bboxes.double().numpy().reshape(-1, 4), 0, edges),
            predicted.labels.numpy().astype(np.int64),
            predicted.scores.double().numpy(),
        )

    def _warn_if_stretched(self, image: SourceImage, sample: Any) -> None:
        """Warn of the first image whose proportions the test pipeline changes by more than 10 %."""
        wide, high = sample.metainfo.get("scale_factor", (1.0, 1.0))[:2]
        factor = max(wide / high, high / wide)
        if self._has_warned or factor <= 1 + LARGEST_STRETCH:
            return
        self._has_warned = True
        height, width = image.size
        size = (round(height * high), round(width * wide))
        better = unstretched_size(image.size, size, 1)
        has_size = self._pipeline.transforms[0].size is not None
        key = f"{_DATA}.dataset.pipeline.0.image_size={better}".replace(" ", "")
        fix = f'--cfg-options "{key}"' if has_size else f"a scale of {better[::-1]} (width, height)"
        print_log(
            f"{image.path}: the config's test pipeline makes images of {width}x{height} pixels "
            f"(width x height) {factor:.2f} times too {'wide' if wide > high else 'high'}. Unless "
            f"the detector was trained on such images, detections are worse. {fix} keeps their "
            "proportions"
        )

    def _prepare(self, image: SourceImage) -> Any:
        """Return the model's input for an image."""
        try:
            return self._pipeline(
                {
                    "source_image": image,
                    "img_path": str(image.path),
                    "img_id": image.frame or 0,
                    "frame_token": image.token,
                    "camera": image.camera,
                    "scene": image.scene,
                    "condition": "",
                    "height": image.size[0],
                    "width": image.size[1],
                    "instances": [],
                }
            )
        except (cv2.error, ZeroDivisionError) as error:  # a side has no pixels after resizing
            height, width = image.size
            raise DataError(
                f"{image.path}: the config's test pipeline cannot prepare an image of "
                f"{width}x{height} pixels ({getattr(error, 'err', error)})"
            ) from error


class _LoadSourceImage:
    """First transform of the pipeline: load the source image, in the place of the config's loader.

    Args:
        size: height and width to read the image at, pixels; None for its own.
        to_float32: whether the pixels become floats.
    """

    def __init__(self, size: tuple[int, int] | None, *, to_float32: bool = False) -> None:
        self.size = size
        self.to_float32 = to_float32

    def __call__(self, results: dict[str, Any]) -> dict[str, Any]:
        """Read the image, and add it and its sizes to the results."""
        source: SourceImage = results.pop("source_image")
        size = self.size or source.size
        image = source.read(size)
        scale = (size[1] / source.size[1], size[0] / source.size[0])
        return {
            **results,
            "img": image.astype(np.float32) if self.to_float32 else image,
            "img_shape": size,
            "ori_shape": source.size,
            "scale_factor": scale,
        }


def _test_dataset(cfg: Config, config: str | Path) -> Mapping[str, Any]:
    """Return the config of the test data, whose pipeline is used.

    Raises:
        ConfigError: if the config is not of a 2-D detector, or has no test data.
    """
    model = cfg.get("model")
    if not model:
        raise ConfigError(f"{config} has no model; give a detector's config")
    if is_pretrainer(model):
        raise ConfigError(
            f"{config} is a pretraining config, whose model finds no objects; give a detector's. "
            "drivemim visualize draws what a pretrainer reconstructs"
        )
    datasets = [each for each in dicts_in(cfg.get(_DATA)) if each.get("pipeline")]
    kinds = {short_type(each) for each in (*dicts_in(model), *datasets)}
    if found := sorted(kinds & {"Mono3DHead", "FrameDetection3D"}):
        raise ConfigError(
            f"{config} is a 3-D detector ({found[0]}), which needs each camera's calibration; only "
            "2-D detectors are drawn. drivemim test evaluates it"
        )
    if not datasets:
        raise ConfigError(
            f"{config} has no pipeline in its {_DATA}: it does not say how images are prepared"
        )
    return datasets[0]


def _metainfo(dataset: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the ``metainfo`` of the test data without opening them; empty if there is none."""
    kind = dataset.get("type")
    kind = kind if isinstance(kind, type) else DATASETS.get(str(kind))
    if isinstance(kind, type) and not issubclass(kind, BaseDataset):
        return dict(getattr(kind, "metainfo", None) or {})
    built = DATASETS.build({**dataset, "pipeline": [], "lazy_init": True})
    return dict(built.metainfo)


def _pipeline(settings: Sequence[Any], config: str | Path) -> Compose:
    """Build the test pipeline, with the loader replaced and without annotations.

    Raises:
        ConfigError: if the loader cannot be replaced.
    """
    check_one_resize(settings, _DATA)
    loader = TRANSFORMS.build(settings[0])
    if isinstance(loader, (LoadReducedImage, LoadReducedInstances)):
        first = _LoadSourceImage(loader.image_size)
    elif any(base.__name__ == "LoadImageFromFile" for base in type(loader).__mro__):
        if loader.color_type not in _COLORS:
            raise ConfigError(
                f"{config}: {_DATA} reads images with color_type='{loader.color_type}'; only "
                "colour images are read (color_type='color')"
            )
        first = _LoadSourceImage(None, to_float32=loader.to_float32)
    else:
        raise ConfigError(
            f"{config}: the pipeline of {_DATA} begins with {type(loader).__name__}; it has to "
            "begin with LoadImageFromFile, drivemim.LoadReducedImage or "
            "drivemim.LoadReducedInstances"
        )
    rest = [each for each in settings[1:] if not _loads_annotations(each)]
    return Compose([first, *rest])


def _loads_annotations(transform: Any) -> bool:
    """Return whether a transform, or its config, is one that loads annotations."""
    name = short_type(transform) if isinstance(transform, Mapping) else type(transform).__name__
    return name.startswith("Load") and name.endswith("Annotations")


def _class_names(
    content: Any, metainfo: Mapping[str, Any], checkpoint: str | Path
) -> tuple[str, ...]:
    """Return the names of the classes: the checkpoint's, or if it has none the config's.

    Raises:
        ConfigError: if the two differ.
        CheckpointError: if neither has any.
    """
    meta = (content.get("meta") if isinstance(content, Mapping) else None) or {}
    # In checkpoints of older MMDetection, the key is CLASSES.
    data = {key.lower(): value for key, value in (meta.get("dataset_meta") or meta).items()}
    lists = [data.get("classes"), metainfo.get("classes")]
    trained, configured = (
        tuple(each) if isinstance(each, (list, tuple)) else None for each in lists
    )
    if trained and configured:
        check_same_classes(trained, configured, ("the checkpoint", _DATA))
    if not (names := trained or configured):
        raise CheckpointError(
            f"{checkpoint} does not name its classes, and neither does {_DATA} of the config; set "
            f"--cfg-options {_DATA}.dataset.metainfo.classes=\"['NAME', ...]\""
        )
    return tuple(map(str, names))
