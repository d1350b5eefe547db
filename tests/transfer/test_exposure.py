"""Frames that a pretraining saw, counted by hand, also through other indices."""

import shutil

import cv2
import numpy as np
import pytest
import torch
from seen_data import index_of, metadata_of, write_backbone, write_frames

from drivemim.data.index.builders.frames import build_frames_index
from drivemim.data.index.builders.nuscenes import build_nuscenes_index
from drivemim.data.index.frame_index import FrameIndex
from drivemim.errors import ConfigError
from drivemim.transfer import frames_seen as module
from drivemim.transfer.exposure import (
    Exposure,
    check_boxes,
    check_images,
    read_record,
    record_of,
    unknown_frames,
)
from drivemim.transfer.frames_seen import KnownFrames

SPLITS = {"train": {"a": 6, "b": 4}, "val": {"c": 5}}


@pytest.fixture
def folder(tmp_path):
    write_frames(tmp_path / "data", SPLITS)
    return tmp_path / "data"


@pytest.fixture
def exposure_of(folder, tmp_path):
    """Exposure of an export to a split of the labelled index."""
    path = index_of(folder, tmp_path / "labelled.arrow", "train", "val")

    def exposure(metadata, split):
        index = FrameIndex.open(path)
        rows = np.flatnonzero(np.isin(index.frames.scene, index.scene_rows(split)))
        return record_of(metadata).exposure(KnownFrames(index, rows))

    return exposure


def test_images_of_val_are_recognised_as_frames_of_a_folder(folder, exposure_of, tmp_path):
    """One index lists the images as val, another one as an unlabelled folder."""
    both = index_of(folder, tmp_path / "both.arrow", "train", roots=[folder / "c"])
    saw = metadata_of({"index": str(both)}, masking="ObjectMask")
    assert exposure_of(saw, "val") == Exposure(frames=5, images=5, boxes=0)
    assert exposure_of(saw, "train") == Exposure(frames=10, images=10, boxes=10)
    train = index_of(folder, tmp_path / "train.arrow", "train")
    saw = metadata_of({"index": str(train)})
    assert exposure_of(saw, "val") == Exposure(frames=5, images=0, boxes=0)
    assert exposure_of(saw, "train") == Exposure(frames=10, images=10, boxes=0)


def test_boxes_count_where_they_are_read_and_annotated(folder, exposure_of, tmp_path):
    index = str(index_of(folder, tmp_path / "all.arrow", "train", "val"))
    scenes = {"index": index, "scenes": ["a"]}

    def boxes(masking="ObjectMask", **part):
        metadata = metadata_of({**scenes, **part}, masking=masking)
        return [exposure_of(metadata, split).boxes for split in ("train", "val")]

    assert boxes() == [6, 0]
    assert boxes(scenes=None) == [10, 5]
    assert boxes(masking="RandomMask") == [0, 0]
    assert boxes(boxes="MotionBoxes", num_frames=2) == [0, 0]
    assert boxes(boxes=None) == [0, 0]


def test_boxes_of_a_detector_are_reported_and_not_counted(folder, tmp_path):
    index = str(index_of(folder, tmp_path / "all.arrow", "train"))
    boxes = {"type": "PseudoLabelBoxes", "file": "results.json"}
    metadata = metadata_of({"index": index, "boxes": boxes}, masking="ObjectMask")
    record = record_of(metadata)
    assert record.annotated == []
    (line,) = record.remarks()
    assert "boxes of a detector (PseudoLabelBoxes)" in line
    assert "indirectly" in line
    silent = metadata_of({"index": index, "boxes": boxes}, masking="TubeMask")
    assert record_of(silent).remarks() == []


def test_a_part_of_several_data_sets_counts(folder, exposure_of, tmp_path):
    write_frames(tmp_path / "other", {"free": {"x": 3}}, labelled=())
    other = str(index_of(tmp_path / "other", tmp_path / "other.arrow", "free"))
    whole = str(index_of(folder, tmp_path / "all.arrow", "train", "val"))
    parts = [{"index": other}, {"index": whole, "scenes": "val"}]
    saw = metadata_of(*parts, masking="ObjectMask")
    assert [part["annotated_frames"] for part in saw["data"]] == [0, 5]
    assert exposure_of(saw, "val") == Exposure(frames=5, images=5, boxes=5)
    assert exposure_of(saw, "train") == Exposure(frames=10, images=0, boxes=0)
    assert exposure_of(metadata_of({"index": other}), "val").images == 0


def test_frames_that_an_export_does_not_record_are_unknown(folder, exposure_of, tmp_path):
    index = str(index_of(folder, tmp_path / "all.arrow", "train"))
    older = metadata_of({"index": index})
    del older["data"][0]["seen"], older["data"][0]["annotated_frames"], older["recipe"]["reads"]
    assert exposure_of(older, "val") == Exposure(frames=5, images=None, boxes=0)
    assert "is an older export" in record_of(older).remarks()[0]
    with pytest.raises(ConfigError, match="unknown whether its pretraining saw images of --val"):
        check_images("--init a", "--val", exposure_of(older, "val"), transductive=False)
    older["recipe"]["masks_use_boxes"] = True
    assert exposure_of(older, "val") == Exposure(frames=5, images=None, boxes=None)
    gone = metadata_of({"index": str(tmp_path / "gone.arrow")}, masking="ObjectMask")
    assert exposure_of(gone, "val") == Exposure(frames=5, images=None, boxes=None)
    assert "gone.arrow" in record_of(gone).remarks()[0]
    nothing = metadata_of()
    assert exposure_of(nothing, "val").images is None
    assert "names no index" in record_of(nothing).remarks()[0]


def test_one_image_that_is_gone_hides_no_other(folder, exposure_of, tmp_path):
    """Of 10 images of train and 5 of val, one of train is missing: 9 and 5 are recorded."""
    index = str(index_of(folder, tmp_path / "all.arrow", "train", "val"))
    (folder / "a" / "0.png").rename(tmp_path / "away.png")
    metadata = metadata_of({"index": index}, masking="ObjectMask")
    (tmp_path / "away.png").rename(folder / "a" / "0.png")
    assert metadata["data"][0]["annotated_frames"] == 15
    assert metadata["data"][0]["missing_images"] == 1
    seen = exposure_of(metadata, "val")
    assert seen == Exposure(frames=5, images=5, boxes=5)
    with pytest.raises(ConfigError, match="saw 5 of the 5 images of --val"):
        check_images("--init a", "--val", seen, transductive=False)
    assert exposure_of(metadata, "train") == Exposure(frames=10, images=9, boxes=9)
    (line,) = record_of(metadata).remarks()
    assert line.startswith("1 of the 15 images of its pretraining's")


def test_an_image_of_val_that_is_gone_hides_no_other(folder, exposure_of, tmp_path):
    index = str(index_of(folder, tmp_path / "all.arrow", "train", "val"))
    metadata = metadata_of({"index": index})
    (folder / "c" / "0.png").unlink()
    assert exposure_of(metadata, "val") == Exposure(frames=5, images=4, boxes=0)


def test_images_that_are_all_gone_are_unknown_and_refused(folder, exposure_of, tmp_path):
    index = str(index_of(folder, tmp_path / "all.arrow", "train"))
    folder.rename(tmp_path / "away")
    metadata = metadata_of({"index": index})
    (tmp_path / "away").rename(folder)
    seen = exposure_of(metadata, "val")
    assert seen == Exposure(frames=5, images=None, boxes=0)
    with pytest.raises(ConfigError, match=r"unknown whether .* all 10 images were missing;.*--tr"):
        check_images("--init a", "--val", seen, transductive=False)
    check_images("--init a", "--val", seen, transductive=True)
    assert "possibly transductive" in unknown_frames(record_of(metadata), "--val", seen)[0]


def test_weights_of_other_projects_are_unknown_and_reported(tmp_path):
    torch.save({"state_dict": {"conv1.weight": torch.zeros(1)}}, tmp_path / "resnet.pth")
    for path in (tmp_path / "resnet.pth", write_backbone(tmp_path / "x.safetensors", None)):
        record = read_record(path)
        assert record.data is None
        assert record.remarks() == [
            "it is not an export of DriveMIM, so the data of its pretraining is unknown"
        ]


def test_a_pretraining_with_initial_weights_names_them(folder, tmp_path):
    index = str(index_of(folder, tmp_path / "all.arrow", "train"))
    (line,) = record_of(metadata_of({"index": index}, started_from="mae.pth")).remarks()
    assert line == "its pretraining started from mae.pth; its data is unknown"


class TestNuScenes:
    """nuScenes' scenes have tokens, which stay the same when images are moved or rewritten."""

    @pytest.fixture
    def root(self, repository, tmp_path):
        import importlib.util

        path = repository / "tests" / "data" / "conftest.py"
        spec = importlib.util.spec_from_file_location("small_nuscenes_seen", path)
        data = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(data)
        return data.write_data(tmp_path / "rig", data.make_tables())

    def exposure(self, root, metadata, scene, tmp_path):
        index = FrameIndex.open(
            build_nuscenes_index(root, "v1.0-mini", tmp_path / "evaluated.arrow")
        )
        chosen = np.isin(index.frames.scene, index.scene_rows([scene]))
        rows = np.flatnonzero(chosen & np.asarray(index.frames.keyframe))
        return record_of(metadata).exposure(KnownFrames(index, rows))

    @pytest.mark.parametrize("max_files", [100_000, 0])
    def test_by_file_or_by_token(self, root, tmp_path, monkeypatch, max_files):
        monkeypatch.setattr(module, "MAX_FILES", max_files)
        index = str(build_nuscenes_index(root, "v1.0-mini", tmp_path / "rig.arrow"))
        metadata = metadata_of({"index": index, "scenes": ["scene-0061"]}, masking="ObjectMask")
        record = metadata["data"][0]["seen"]
        assert (record["contents"] is None) == (max_files == 0)
        # Three samples: of two cameras in scene-0061, of one in the other.
        seen = self.exposure(root, metadata, "scene-0061", tmp_path)
        assert seen == Exposure(frames=6, images=6, boxes=6)
        other = self.exposure(root, metadata, "scene-0103", tmp_path)
        assert other == Exposure(frames=3, images=0, boxes=0)
        front = {"index": index, "scenes": ["scene-0061"], "cameras": ["CAM_FRONT"]}
        seen = self.exposure(root, metadata_of(front), "scene-0061", tmp_path)
        assert seen == Exposure(frames=6, images=3, boxes=0)

    def test_images_that_were_written_anew_keep_their_tokens(self, root, tmp_path):
        index = str(build_nuscenes_index(root, "v1.0-mini", tmp_path / "rig.arrow"))
        metadata = metadata_of({"index": index, "scenes": ["scene-0061"]})
        small = shutil.copytree(root, tmp_path / "small")
        for path in small.rglob("*.jpg"):
            path.write_bytes(path.read_bytes() + b"x")
        seen = self.exposure(small, metadata, "scene-0061", tmp_path)
        assert seen == Exposure(frames=6, images=6, boxes=0)

    def test_tokens_and_files_cannot_be_compared(
        self, root, folder, exposure_of, tmp_path, monkeypatch
    ):
        monkeypatch.setattr(module, "MAX_FILES", 0)
        index = str(build_nuscenes_index(root, "v1.0-mini", tmp_path / "rig.arrow"))
        metadata = metadata_of({"index": index}, masking="ObjectMask")
        assert exposure_of(metadata, "val") == Exposure(frames=5, images=None, boxes=None)

    @pytest.mark.parametrize("key", ["source", "version"])
    def test_tokens_of_another_data_set_are_not_compared(self, root, tmp_path, monkeypatch, key):
        """With tokens on both sides, files are not compared; equal tokens still count."""
        monkeypatch.setattr(module, "MAX_FILES", 0)
        index = str(build_nuscenes_index(root, "v1.0-mini", tmp_path / "rig.arrow"))
        metadata = metadata_of({"index": index, "scenes": ["scene-0061"]}, masking="ObjectMask")
        metadata["data"][0][key] = "other"
        seen = self.exposure(root, metadata, "scene-0103", tmp_path)
        assert seen == Exposure(frames=3, images=None, boxes=None)
        assert self.exposure(root, metadata, "scene-0061", tmp_path).images == 6


@pytest.mark.parametrize("older", ["files", "pictures"])
def test_keys_of_older_exports_are_not_compared(folder, exposure_of, tmp_path, older):
    index = str(index_of(folder, tmp_path / "all.arrow", "train", "val"))
    metadata = metadata_of({"index": index})
    assert exposure_of(metadata, "val").images == 5
    seen = metadata["data"][0]["seen"]
    seen[older] = seen.pop("contents")
    assert exposure_of(metadata, "val").images is None
    assert exposure_of(metadata, "val").unrecorded.endswith("an older version wrote it")


def test_copies_with_other_comments_are_the_same_images(tmp_path):
    """The evaluated files got JPEG comments after pretraining."""
    for place in ("first", "second"):
        (tmp_path / place).mkdir()
    for number in range(3):
        pixels = np.random.default_rng(number).integers(0, 256, (120, 160, 3), np.uint8)
        content = cv2.imencode(".jpg", pixels)[1].tobytes()
        (tmp_path / "first" / f"{number}.jpg").write_bytes(content)
        comment = b"\xff\xfe" + (1002).to_bytes(2, "big") + b"c" * 1000
        (tmp_path / "second" / f"{number}.jpg").write_bytes(content[:2] + comment + content[2:])
    first, second = (
        build_frames_index([tmp_path / place], tmp_path / f"{place}.arrow")
        for place in ("first", "second")
    )
    record = record_of(metadata_of({"index": str(first)}))
    index = FrameIndex.open(second)
    assert record.exposure(KnownFrames(index, np.arange(3))).images == 3


def test_a_chain_counts_the_frames_of_all_its_pretrainings(folder, exposure_of, tmp_path):
    """The first pretraining saw val without boxes, the second one sequence a with boxes."""
    index = str(index_of(folder, tmp_path / "all.arrow", "train", "val"))
    first = {"file": "1.safetensors", **metadata_of({"index": index, "scenes": "val"})}
    second = metadata_of({"index": index, "scenes": ["a"]}, masking="ObjectMask",
                         started_from="1.safetensors", earlier=[first])  # fmt: skip
    second = {"file": "2.safetensors", **second}
    last = metadata_of({"index": index, "scenes": ["b"]}, started_from="2.safetensors",
                       earlier=[second])  # fmt: skip
    assert exposure_of(last, "val") == Exposure(frames=5, images=5, boxes=0)
    assert exposure_of(last, "train") == Exposure(frames=10, images=10, boxes=6)
    record = record_of(last)
    assert record.remarks() == []
    assert record.started_from == "2.safetensors, which started from 1.safetensors"
    with pytest.raises(ConfigError, match=r"boxes of 6 of the 10 .* \(read by ObjectMask\)"):
        check_boxes("--init a", record, "--train", exposure_of(last, "train"), max_read=5, fix="")


def test_external_initial_weights_are_unknown_and_not_refused(folder, exposure_of, tmp_path):
    index = str(index_of(folder, tmp_path / "all.arrow", "train", "val"))
    external = {"file": "r50.pth", "data": None, "recipe": {}}
    metadata = metadata_of({"index": index, "scenes": ["a"]}, masking="ObjectMask",
                           started_from="r50.pth", earlier=[external])  # fmt: skip
    record, seen = record_of(metadata), exposure_of(metadata, "val")
    assert seen == Exposure(frames=5, images=None, boxes=None)
    assert record.remarks() == ["its pretraining started from r50.pth; its data is unknown"]
    assert unknown_frames(record, "val", seen) == []
    check_images("--init a", "--val val", seen, transductive=False)
    check_boxes("--init a", record, "--val val", seen, max_read=0, fix="")
    # What is recorded counts nevertheless.
    assert exposure_of(metadata, "train") == Exposure(frames=10, images=6, boxes=6)


def test_refusals_name_the_thing_the_value_and_the_fix(folder, exposure_of, tmp_path):
    index = str(index_of(folder, tmp_path / "all.arrow", "train", "val"))
    metadata = metadata_of({"index": index}, masking="ObjectMask")
    record, seen = record_of(metadata), exposure_of(metadata, "val")
    with pytest.raises(
        ConfigError, match=r"--init a: .* saw 5 of the 5 images of --val val;.*--tr"
    ):
        check_images("--init a", "--val val", seen, transductive=False)
    check_images("--init a", "--val val", seen, transductive=True)
    with pytest.raises(
        ConfigError,
        match=r"read the annotated boxes of 5 of the 5 frames of --val val \(read by ObjectMask\).*"
        r"--allow-boxes-read",
    ):
        check_boxes("--init a", record, "--val val", seen, max_read=4, fix="")
    check_boxes("--init a", record, "--val val", seen, max_read=5, fix="")
    unknown = Exposure(frames=5, images=None, boxes=None)
    with pytest.raises(ConfigError, match="an unknown number of the 5 frames"):
        check_boxes("--init a", record, "--val val", unknown, max_read=5, fix="")


def test_splits_of_padded_files_that_share_nothing_are_not_seen(tmp_path):
    """A camera writes every JPEG file in a buffer of 256 KiB and fills it with zeros."""
    indices = []
    for split in range(2):
        folder = tmp_path / f"split{split}"
        folder.mkdir()
        for number in range(3):
            pixels = np.random.default_rng([split, number]).integers(0, 256, (120, 160, 3))
            content = cv2.imencode(".jpg", pixels.astype(np.uint8))[1].tobytes()
            assert len(content) < 1 << 17  # the middle of the file is padding
            (folder / f"{number}.jpg").write_bytes(content.ljust(1 << 18, b"\0"))
        indices.append(build_frames_index([folder], tmp_path / f"{split}.arrow"))
    record = record_of(metadata_of({"index": str(indices[0])}))
    counts = [
        record.exposure(KnownFrames(FrameIndex.open(index), np.arange(3))).images
        for index in indices
    ]
    assert counts == [3, 0]
