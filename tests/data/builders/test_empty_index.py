"""No index is built without frames; the error says why there are none."""

import nuimages_tables
import pytest

from drivemim.data.index.builders.columns import Section
from drivemim.data.index.builders.nuimages import build_nuimages_index
from drivemim.data.index.builders.nuscenes import build_nuscenes_index
from drivemim.data.index.frame_index import FrameIndex, IndexInfo, write_index
from drivemim.errors import DataError


def _upper_case(tables):
    for row in tables["sensor"]:
        row["modality"] = row["modality"].upper()


def _no_sensor(tables):
    for name in ("sensor", "calibrated_sensor", "sample_data"):
        tables[name] = []


def _no_images(tables):
    tables["sample_data"] = [row for row in tables["sample_data"] if row["fileformat"] != "jpg"]
    for row in tables["sample_data"]:
        row.update(prev="", next="")


def _invalid(tables):
    for row in tables["sample_data"]:
        row["is_valid"] = False


NO_CAMERA = r"sensor\.json: no sensor has the modality 'camera' "
REASONS = {
    "modality in upper case": (
        _upper_case, NO_CAMERA + r"\('CAMERA', 'LIDAR', 'RADAR'\), so there are no images to index"
    ),
    "no sensor": (_no_sensor, NO_CAMERA + r"\(no sensor\)"),
    "no images": (_no_images, "no row of sample_data.json is an image of a camera"),
    "no valid image": (_invalid, "frames to index: all 24 images have is_valid=false"),
}  # fmt: skip


@pytest.mark.parametrize("name", REASONS)
def test_tables_without_frames(tables, write, tmp_path, name):
    change, message = REASONS[name]
    change(tables)
    with pytest.raises(DataError, match=message):
        build_nuscenes_index(write(tables), "v1.0-mini", tmp_path / "index.arrow")
    assert not (tmp_path / "index.arrow").exists()


def test_all_images_are_missing(tables, write, tmp_path):
    root = write(tables)
    for path in root.rglob("*.jpg"):
        path.unlink()
    message = "all 24 images are missing, and --missing-images drop leaves them out; check --root"
    with pytest.raises(DataError, match=message):
        build_nuscenes_index(root, "v1.0-mini", tmp_path / "index.arrow", missing_images="drop")


def test_nuimages_without_keyframes(tmp_path):
    tables = nuimages_tables.make_tables()
    tables["sample"], tables["object_ann"] = [], []
    tables["sample_data"] = []
    root = nuimages_tables.write_data(tmp_path / "data", tables)
    with pytest.raises(DataError, match="no row of sample_data.json is an image of a camera"):
        build_nuimages_index(root, "v1.0-mini", tmp_path / "index.arrow", sweeps=False)


def test_a_camera_under_another_modality_is_reported(tables, write, tmp_path, caplog):
    for row in tables["sensor"]:
        if row["channel"] == "CAM_BACK":
            row["modality"] = "cam"
    out = build_nuscenes_index(write(tables), "v1.0-mini", tmp_path / "index.arrow")
    assert FrameIndex.open(out).cameras == ("CAM_FRONT",)
    assert "the modality of its sensor is not 'camera', so its images are left out (1 " in (
        caplog.text
    )


def test_no_builder_writes_an_index_without_frames(tmp_path):
    sections: dict[str, Section] = {"frames": {"token": []}}
    info = IndexInfo(source="frames", version="", data_root=str(tmp_path), command="", tables=[])
    with pytest.raises(DataError, match="would have no frames: the frames source has none"):
        write_index(tmp_path / "index.arrow", sections, info)
    assert not list(tmp_path.iterdir())
