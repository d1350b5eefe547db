import pickle
import shutil
from pathlib import Path

import cv2
import numpy as np
import pyarrow as pa
import pytest

from drivemim.data.index.arrow import strings
from drivemim.data.index.arrow_columns import strings_from_arrow
from drivemim.data.index.builders.frames import build_frames_index
from drivemim.data.index.builders.nuimages import build_nuimages_index
from drivemim.data.index.builders.nuscenes import build_nuscenes_index
from drivemim.data.index.frame_index import FrameIndex
from drivemim.data.index.index_schema import Strings, time_keys
from drivemim.errors import DataError


def test_columns_are_views_of_the_mapped_file(small_index):
    index = FrameIndex.open(small_index)
    for column in (index.frames.timestamp, index.frames.intrinsics, index.boxes.center):
        assert not column.flags.owndata
        assert not column.flags.writeable
    assert index.frames.intrinsics.shape == (24, 3, 3)
    assert index.frames.keyframe.dtype == bool


def test_an_index_is_pickled_as_its_path(small_index, tmp_path):
    index = FrameIndex.open(small_index, data_root=tmp_path)
    data = pickle.dumps(index)
    assert len(data) < 1000
    again = pickle.loads(data)
    assert again.data_root == tmp_path
    np.testing.assert_array_equal(again.frames.timestamp, index.frames.timestamp)


def test_strings_in_any_language_and_empty():
    words = ["", "Straße", "雨", "x"]
    column = strings_from_arrow(strings(words))
    assert list(column) == words
    assert len(column) == 4
    with pytest.raises(IndexError, match="row 4 of a column of 4"):
        column[4]
    with pytest.raises(IndexError, match="row -1"):
        column[-1]
    assert list(strings_from_arrow(strings([]))) == []
    assert list(strings_from_arrow(strings(["", ""]))) == ["", ""]
    assert len(Strings(np.zeros(0, np.int64), np.zeros(0, np.uint8))) == 0


def test_frames_by_token(small_index):
    index = FrameIndex.open(small_index)
    rows = index.frame_rows(["scene-0061-CAM_FRONT-2", "scene-0103-CAM_FRONT-0"])
    assert rows.tolist() == [18, 0]
    with pytest.raises(ValueError, match="has no frame 'nobody'"):
        index.frame_rows(["scene-0103-CAM_FRONT-0", "nobody"])


def test_cameras_by_name_in_the_order_given(small_index):
    index = FrameIndex.open(small_index)
    assert index.camera_numbers(None).tolist() == [0, 1]
    assert index.camera_numbers(("CAM_FRONT", "CAM_BACK")).tolist() == [1, 0]
    assert index.camera_numbers("CAM_FRONT").tolist() == [1]  # not one camera for each letter
    assert index.camera_numbers([]).tolist() == []
    with pytest.raises(ValueError, match="no camera 'CAM_FRON'.*did you mean 'CAM_FRONT'"):
        index.camera_numbers(["CAM_FRON"])
    with pytest.raises(ValueError, match="no camera 'CAM_FRON', only CAM_BACK, CAM_FRONT; did you"):
        index.camera_numbers("CAM_FRON")


def test_scenes_by_name_or_split(small_index):
    index = FrameIndex.open(small_index)
    assert index.scene_rows(None).tolist() == [0, 1]
    assert index.scene_rows("scene-0061").tolist() == [1]
    assert index.scene_rows(["scene-0061", "scene-0103"]).tolist() == [0, 1]
    assert index.scene_rows("mini_train").tolist() == [1]
    assert index.scene_rows("mini_val").tolist() == [0]
    with pytest.raises(
        ValueError, match="no scene or split 'scene-0062'; did you mean 'scene-0061'"
    ):
        index.scene_rows(["scene-0062"])
    with pytest.raises(ValueError, match="did you mean 'mini_train'"):
        index.scene_rows("mini_trian")
    with pytest.raises(
        ValueError, match="no split 'test', and no scene of the nuScenes split of that name"
    ):
        index.scene_rows("test")


def test_another_version_is_refused(small_index):
    FrameIndex.open(small_index, version="v1.0-mini")
    with pytest.raises(ValueError, match=r"built for v1\.0-mini, not for version='v1\.0-t"):
        FrameIndex.open(small_index, version="v1.0-trainval")


def test_files_other_than_an_index_are_refused(tmp_path, small_index):
    path = tmp_path / "index.arrow"
    with pytest.raises(FileNotFoundError, match=r"no index at .*index\.arrow; build it"):
        FrameIndex.open(path)
    path.write_bytes(b"")
    with pytest.raises(FileNotFoundError, match=r"indx\.arrow; did you mean 'index\.arrow'\?"):
        FrameIndex.open(tmp_path / "indx.arrow")
    with pytest.raises(ValueError, match="is not an index"):
        FrameIndex.open(path)
    with pytest.raises(FileNotFoundError, match=r"is a folder, not an index; it holds .*index\.a"):
        FrameIndex.open(tmp_path)
    path.write_bytes(small_index.read_bytes()[:-100])
    with pytest.raises(ValueError, match="is not an index"):
        FrameIndex.open(path)
    table = pa.record_batch([pa.array([1])], names=["x"])
    with pa.OSFile(str(path), "wb") as sink, pa.ipc.new_file(sink, table.schema) as writer:
        writer.write_batch(table)
    with pytest.raises(ValueError, match="is not an index"):
        FrameIndex.open(path)


def test_an_index_whose_tables_were_not_copied_opens(small_index, tmp_path):
    path = tmp_path / "index.arrow"
    shutil.copy(small_index, path)
    index = FrameIndex.open(path, data_root=tmp_path / "elsewhere")
    assert index.image_path(0).parent.parent.parent == tmp_path / "elsewhere"


@pytest.mark.parametrize("when", ["write_batch", "replace"])
def test_a_failed_write_leaves_the_old_index_alone(tmp_path, monkeypatch, when):
    cv2.imwrite(str(tmp_path / "0.jpg"), np.zeros((30, 40, 3), np.uint8))
    out = tmp_path / "out" / "index.arrow"
    build_frames_index([tmp_path], out)
    old = out.read_bytes()

    def fail(*arguments):
        raise OSError(28, "No space left on device")

    owner = pa.ipc.RecordBatchFileWriter if when == "write_batch" else Path
    monkeypatch.setattr(owner, when, fail)
    with pytest.raises(OSError, match="No space left"):
        build_frames_index([tmp_path], out)
    assert out.read_bytes() == old
    assert [each.name for each in out.parent.iterdir()] == ["index.arrow"]


def test_time_keys_sort_by_sequence_then_time():
    keys = time_keys(np.array([0, 0, 1, 1, 1]), np.array([0, 5, -9, 1, 1 << 50]))
    assert keys.tolist() == [0, 5, 1 << 40, (1 << 40) + 1, (2 << 40) - 1]


def test_frames_by_the_path_of_their_image(small_index):
    index = FrameIndex.open(small_index)
    rows = index.find_paths([index.frames.path[7], "samples/nowhere.jpg", index.frames.path[0]])
    assert rows.tolist() == [7, -1, 0]
    assert index.find_paths([]).tolist() == []


def test_an_index_is_named_arrow(small_root, tmp_path):
    """The builders refuse another suffix and write nothing."""
    message = r"--out .*/index.txt: an index ends in \.arrow; write --out .*/index\.arrow"
    with pytest.raises(DataError, match=message):
        build_nuscenes_index(small_root, "v1.0-mini", tmp_path / "index.txt")
    with pytest.raises(DataError, match=message):
        build_nuimages_index(small_root, "v1.0-mini", tmp_path / "index.txt")
    with pytest.raises(DataError, match=message):
        build_frames_index([small_root / "samples"], tmp_path / "index.txt")
    assert list(tmp_path.iterdir()) == []
