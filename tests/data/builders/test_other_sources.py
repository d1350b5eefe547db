"""Folders of another kind than requested: the error names the right command."""

import logging

import cv2
import numpy as np
import pytest

from drivemim.data.index.builders.frames import build_frames_index
from drivemim.data.index.builders.nuimages import build_nuimages_index
from drivemim.data.index.builders.nuscenes import build_nuscenes_index
from drivemim.errors import DataError


def images(folder, count=2):
    folder.mkdir(parents=True)
    for number in range(count):
        cv2.imwrite(str(folder / f"{number}.JPG"), np.full((16, 16, 3), number, np.uint8))


def tables(folder, boxes="sample_annotation"):
    folder.mkdir(parents=True)
    for name in ("sample_data", boxes):
        (folder / f"{name}.json").write_text("[]")


def missing(build, root, version="v1.0-mini"):
    with pytest.raises(FileNotFoundError) as error:
        build(root, version, root.parent / "out.arrow")
    return str(error.value)


@pytest.mark.parametrize("build", [build_nuscenes_index, build_nuimages_index])
def test_images_without_tables(build, tmp_path):
    root = tmp_path / "my drives"
    images(root / "day 1" / "front")
    assert missing(build, root) == (
        f"no folder {root / 'v1.0-mini'}; {root} has images or videos without tables: run "
        f"drivemim index frames --root '{root}'"
    )


def test_neither_images_nor_tables(tmp_path):
    (tmp_path / "root").mkdir()
    (tmp_path / "root" / "notes.txt").write_text("x")
    assert missing(build_nuscenes_index, tmp_path / "root").endswith(
        "root has no version folder: check --root and --version"
    )
    assert "there is no folder" in missing(build_nuscenes_index, tmp_path / "gone")


def test_the_folder_of_images_beside_tables(tmp_path):
    tables(tmp_path / "v1.0-mini")
    images(tmp_path / "samples")
    right = f"run drivemim index nuscenes --root {tmp_path} --version v1.0-mini"
    found = missing(build_nuscenes_index, tmp_path / "samples")
    assert found.endswith(f"the tables are in {tmp_path}: {right}")
    found = missing(build_nuscenes_index, tmp_path / "v1.0-mini")
    assert found.endswith(f"{tmp_path / 'v1.0-mini'} is a version folder itself: {right}")
    found = missing(build_nuscenes_index, tmp_path, "v1.0-trainval")
    assert found.endswith(f"{tmp_path} has v1.0-mini: check --root and --version")


@pytest.mark.parametrize(
    ("build", "boxes", "right"),
    [
        (build_nuscenes_index, "object_ann", "nuimages"),
        (build_nuimages_index, "sample_annotation", "nuscenes"),
    ],
)
def test_the_tables_of_the_other_data_set(build, boxes, right, tmp_path):
    tables(tmp_path / "v1.0-mini", boxes)
    with pytest.raises(DataError) as error:
        build(tmp_path, "v1.0-mini", tmp_path / "out.arrow")
    assert f"{boxes}.json" in str(error.value)
    assert str(error.value).endswith(
        f"run drivemim index {right} --root {tmp_path} --version v1.0-mini"
    )


def test_tables_given_as_images(tmp_path, caplog):
    tables(tmp_path / "v1.0-mini")
    tables(tmp_path / "v1.0-val", "object_ann")
    right = (
        f"drivemim index nuscenes --root {tmp_path} --version v1.0-mini or "
        f"drivemim index nuimages --root {tmp_path} --version v1.0-val"
    )
    with pytest.raises(FileNotFoundError) as error:
        build_frames_index([tmp_path], tmp_path / "out.arrow")
    assert str(error.value).endswith(f"; to read the tables there, run {right}")
    images(tmp_path / "samples")
    with caplog.at_level(logging.WARNING):
        build_frames_index([tmp_path], tmp_path / "out.arrow")
    assert [record.getMessage() for record in caplog.records] == [
        f"scenes, cameras and boxes of the tables are not read; {right} reads them"
    ]
    caplog.clear()
    build_frames_index([tmp_path / "samples"], tmp_path / "out.arrow")
    assert caplog.records == []
