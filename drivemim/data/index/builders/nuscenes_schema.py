"""Rows of nuScenes' JSON tables: columns that are read, and columns that are ignored.

A column that is in neither list is named in a warning when its table is read, because it may change
the meaning of a row. The lists include nuScenes' own columns, nuImages' columns, and those that
TIER IV's T4 format adds (https://github.com/tier4/tier4_perception_dataset,
docs/t4_format_3d_detailed.md).
"""

from __future__ import annotations

from typing import ClassVar

import msgspec

Vector = tuple[float, float, float]
Quaternion = tuple[float, float, float, float]


class TableRow(msgspec.Struct, gc=False):
    """Common fields of the rows of every table.

    Attributes:
        token: key of the row.
        ignored: columns without effect on what is read; the class docstring gives the reasons.
    """

    token: str
    ignored: ClassVar[frozenset[str]] = frozenset()


class Category(TableRow, gc=False):
    """category.json.

    Ignored: descriptions, the category's number in lidar segmentation, and whether an arrow of a
    traffic light has a direction or a digit.
    """

    name: str
    ignored: ClassVar[frozenset[str]] = frozenset(
        {"description", "index", "has_orientation", "has_number"}
    )


class Attribute(TableRow, gc=False):
    """attribute.json. Ignored: descriptions."""

    name: str
    ignored: ClassVar[frozenset[str]] = frozenset({"description"})


class Visibility(TableRow, gc=False):
    """visibility.json.

    ``level`` is the name of a range of the visible fraction, such as v0-40. Ignored: descriptions.
    """

    level: str = ""
    ignored: ClassVar[frozenset[str]] = frozenset({"description"})


class Instance(TableRow, gc=False):
    """instance.json. Ignored: the number of annotations, which are counted, and a second name."""

    category_token: str
    first_annotation_token: str
    last_annotation_token: str
    ignored: ClassVar[frozenset[str]] = frozenset({"nbr_annotations", "instance_name"})


class Sensor(TableRow, gc=False):
    """sensor.json."""

    channel: str
    modality: str


class CalibratedSensor(TableRow, gc=False):
    """calibrated_sensor.json; ``camera_distortion`` is OpenCV's k1, k2, p1, p2, k3."""

    sensor_token: str
    translation: Vector
    rotation: Quaternion
    camera_intrinsic: list[Vector]
    camera_distortion: list[float] | None = None


class EgoPose(TableRow, gc=False):
    """ego_pose.json.

    ``timestamp`` is only compared with that of the sample_data that refers to the pose; they are
    equal in nuScenes. Ignored: speeds, accelerations and geographic coordinates.
    """

    translation: Vector
    rotation: Quaternion
    timestamp: int | float | None = None
    ignored: ClassVar[frozenset[str]] = frozenset(
        {"rotation_rate", "acceleration", "speed", "twist", "geocoordinate"}
    )


class Log(TableRow, gc=False):
    """log.json. Ignored: place, time and vehicle of the recording."""

    ignored: ClassVar[frozenset[str]] = frozenset(
        {"logfile", "vehicle", "date_captured", "location"}
    )


class Scene(TableRow, gc=False):
    """scene.json. Ignored: the number of samples, which are counted."""

    log_token: str
    name: str
    description: str
    first_sample_token: str
    last_sample_token: str
    ignored: ClassVar[frozenset[str]] = frozenset({"nbr_samples"})


class Sample(TableRow, gc=False):
    """sample.json; ``timestamp`` in microseconds."""

    scene_token: str
    timestamp: int | float
    prev: str
    next: str


class SampleData(TableRow, gc=False):
    """sample_data.json; ``timestamp`` in microseconds.

    T4's ``is_valid``: rows with false are left out. Ignored: the file format, which is read from
    the file's first bytes.
    """

    sample_token: str
    ego_pose_token: str
    calibrated_sensor_token: str
    timestamp: int | float
    is_key_frame: bool
    height: int
    width: int
    filename: str
    prev: str
    next: str
    is_valid: bool = True
    ignored: ClassVar[frozenset[str]] = frozenset({"fileformat"})


class SampleAnnotation(TableRow, gc=False):
    """sample_annotation.json.

    T4's ``automatic_annotation``: drawn by a model; such rows are counted in a warning. Ignored:
    velocity and acceleration; velocity is computed like in the devkit.
    """

    sample_token: str
    instance_token: str
    visibility_token: str
    attribute_tokens: list[str]
    translation: Vector
    size: Vector
    rotation: Quaternion
    prev: str
    next: str
    num_lidar_pts: int
    num_radar_pts: int
    automatic_annotation: bool = False
    ignored: ClassVar[frozenset[str]] = frozenset({"velocity", "acceleration"})


class ImageLog(TableRow, gc=False):
    """nuImages' log.json. Ignored: the day and the vehicle."""

    logfile: str
    location: str
    ignored: ClassVar[frozenset[str]] = frozenset({"vehicle", "date_captured"})


class ImageSample(TableRow, gc=False):
    """nuImages' sample.json. Ignored: the time, because every image has its own."""

    log_token: str
    key_camera_token: str
    ignored: ClassVar[frozenset[str]] = frozenset({"timestamp"})


class ObjectAnnotation(TableRow, gc=False):
    """nuImages' object_ann.json: ``bbox`` is x1, y1, x2, y2 in pixels.

    T4's ``automatic_annotation``: drawn by a model; such rows are counted in a warning. Ignored:
    masks; T4's ``instance_token``, because only one image per scene is annotated, so every box is
    its own track; the direction and the digit of traffic lights.
    """

    sample_data_token: str
    category_token: str
    attribute_tokens: list[str]
    bbox: tuple[float, float, float, float]
    automatic_annotation: bool = False
    ignored: ClassVar[frozenset[str]] = frozenset(
        {"mask", "instance_token", "orientation", "number"}
    )
