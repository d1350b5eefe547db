import json
import shlex
import subprocess

import cv2
import numpy as np
import pytest
import video_files
from video_files import write_video

from drivemim.data.index.builders import videos
from drivemim.data.index.builders.frames import build_frames_index
from drivemim.data.index.frame_index import FrameIndex
from drivemim.errors import DataError


def _index(roots, out, **options):
    return FrameIndex.open(build_frames_index(roots, out, **options))


def _level(index, row):
    return int(cv2.imread(str(index.image_path(row)))[24, 40].mean().round())


def test_every_video_is_a_scene_at_its_own_times(tmp_path):
    root = tmp_path / "drives"
    levels = range(0, 200, 10)
    write_video(root / "monday" / "drive.avi", levels, rate=10)
    write_video(root / "tuesday" / "drive.avi", levels[:3], rate=10)
    write_video(root / "tuesday" / "drive.mkv", levels[:6], rate=10)
    cv2.imwrite(str(root / "tuesday" / "0.jpg"), np.zeros((48, 64, 3), np.uint8))
    index = _index([root], root / "index.arrow", rate=1.0)
    names = ["monday/drive.avi", "tuesday", "tuesday/drive.avi", "tuesday/drive.mkv"]
    assert list(index.scenes.name) == names
    # Two a second: of ten a second, every fifth.
    assert index.scenes.sample_count.tolist() == [4, 1, 1, 2]
    assert index.frames.timestamp[:4].tolist() == [0, 500_000, 1_000_000, 1_500_000]
    assert index.frames.timestamp[-2:].tolist() == [0, 500_000]
    np.testing.assert_allclose([_level(index, row) for row in range(4)], [0, 50, 100, 150], atol=2)
    assert (index.frames.width[0], index.frames.height[0]) == (64, 48)
    assert index.data_root == root
    assert index.frames.path[1] == "index-videos/monday/drive.avi/000001.jpg"


@pytest.mark.parametrize(("rate", "rows"), [(10, 6), (100, 6), (5, 3), (4, 3), (1, 1), (0.01, 1)])
def test_frames_are_taken_at_the_rate(tmp_path, rate, rows):
    # Matroska keeps whole milliseconds: 0, 100, 200, 300, 400, 500.
    write_video(tmp_path / "drive.mkv", range(0, 60, 10), rate=10)
    index = _index([tmp_path], tmp_path / "index.arrow", video_rate=rate)
    assert len(index.frames) == rows
    due = {10: [0, 1, 2, 3, 4, 5], 5: [0, 2, 4], 4: [0, 3, 5]}.get(rate)
    if due:
        assert (index.frames.timestamp // 100_000).tolist() == due


def test_a_variable_rate_keeps_the_container_s_times(tmp_path):
    video = write_video(tmp_path / "drive.mp4", range(0, 200, 10), rate=20, codec="mp4v")
    ticks = video_files.frame_ticks(video)
    # One second, as before: five frames of 3/20 s, then five of 1/20 s in place of 15 of them.
    video_files.set_durations(video, [(5, 2 * ticks), (10, ticks // 2), (5, ticks)])
    index = _index([tmp_path], tmp_path / "index.arrow", video_rate=1000)
    expected = [100 * n for n in range(5)] + [500 + 25 * n for n in range(10)]
    expected += [750 + 50 * n for n in range(5)]
    assert (index.frames.timestamp / 1000).round(2).tolist() == expected
    index = _index([tmp_path], tmp_path / "index.arrow", video_rate=4)
    assert (index.frames.timestamp / 1000).round(2).tolist() == [0, 300, 500, 750]
    np.testing.assert_allclose([_level(index, row) for row in range(4)], [0, 30, 50, 150], atol=6)


def test_frames_stand_as_the_phone_was_held(tmp_path):
    video = write_video(tmp_path / "phone.mp4", [60, 60], codec="mp4v")
    video_files.rotate(video)
    index = _index([tmp_path], tmp_path / "index.arrow")
    assert (index.frames.width[0], index.frames.height[0]) == (48, 64)
    image = cv2.imread(str(index.image_path(0)))
    # Turned clockwise, the corner at the top left goes to the top right.
    assert image[8, -6, 2] > 200
    assert image[8, -6, 0] < 60
    np.testing.assert_allclose(image[8, 6], 60, atol=12)


def test_a_second_build_extracts_only_changed_videos(tmp_path, capsys, monkeypatch):
    root, out = tmp_path / "drives", tmp_path / "index.arrow"
    write_video(root / "a.avi", range(0, 100, 10))
    write_video(root / "b.avi", range(0, 100, 10))
    _index([root], out)
    said = capsys.readouterr().out
    assert "4 frames of 2 videos at 2 a second take 0.0 MiB in" in said
    assert "(2 videos extracted, 0 there before)" in said
    store = tmp_path / "index-videos"
    assert not list(store.glob(".*"))
    first = {path: path.stat().st_mtime_ns for path in store.rglob("*.jpg")}
    # A copy of the same video, with a time of its own, is the same video.
    (root / "a.avi").touch()
    (store / "b.avi" / "000001.jpg").unlink()
    _index([root], out)
    assert "(1 videos extracted, 1 there before)" in capsys.readouterr().out
    second = {path: path.stat().st_mtime_ns for path in store.rglob("*.jpg")}
    assert first.keys() == second.keys()
    same = {path.parent.name for path in first if first[path] == second[path]}
    assert same == {"a.avi"}
    write_video(root / "a.avi", [7] * 10)
    assert _level(_index([root], out), 0) == 7
    assert len(_index([root], out, video_rate=5).frames) == 10


def test_a_stopped_extraction_leaves_no_half_video(tmp_path, monkeypatch):
    root, out = tmp_path / "drives", tmp_path / "index.arrow"
    for name in ("a.avi", "b.avi"):
        write_video(root / name, range(0, 100, 10))
    write, store = videos._write_frame, tmp_path / "index-videos"

    def stop(video, capture, number, path):
        if video.name == "b.avi" and number:
            raise KeyboardInterrupt
        return write(video, capture, number, path)

    monkeypatch.setattr(videos, "_write_frame", stop)
    with pytest.raises(KeyboardInterrupt):
        build_frames_index([root], out)
    assert not out.exists()
    assert [path.name for path in store.iterdir() if path.is_dir()] == ["a.avi"]
    monkeypatch.undo()
    killed = subprocess.Popen(["true"])
    killed.wait()
    (store / f".b.avi.{killed.pid}.partial").mkdir()
    (store / f".b.avi.{killed.pid}.partial" / "000000.jpg").touch()
    done = (store / "a.avi" / "000000.jpg").stat().st_mtime_ns
    assert len(_index([root], out).frames) == 4
    assert (store / "a.avi" / "000000.jpg").stat().st_mtime_ns == done
    assert not list(store.glob(".*"))


def test_videos_that_cannot_be_read_are_named(tmp_path, capsys):
    out = tmp_path / "out" / "index.arrow"
    broken = tmp_path / "000%d.mp4"
    broken.write_bytes(b"text")
    with pytest.raises(ValueError, match=r"video .*000%d\.mp4 \(4 bytes\) cannot be read"):
        build_frames_index([tmp_path], out)
    broken.unlink()
    empty = write_video(tmp_path / "empty.avi", [])
    with pytest.raises(ValueError, match=r"video .*empty\.avi has no frames"):
        build_frames_index([tmp_path], out)
    empty.unlink()
    cut = write_video(tmp_path / "cut.avi", range(0, 200, 10))
    cut.write_bytes(cut.read_bytes()[: cut.stat().st_size * 6 // 10])
    index = _index([tmp_path], out)
    assert 1 <= len(index.frames) < 4
    assert "cut.avi: ends after " in capsys.readouterr().out
    with pytest.raises(ValueError, match="video_rate is -1"):
        build_frames_index([tmp_path], out, video_rate=-1)
    with pytest.raises(FileNotFoundError, match=r"no images .* or videos .*\.mkv"):
        build_frames_index([tmp_path], out, video_rate=0)


def test_frames_beside_an_index_that_lies_elsewhere(tmp_path):
    root, out = tmp_path / "drives", tmp_path / "work" / "index.arrow"
    write_video(root / "a.avi", range(0, 100, 10))
    index = _index([root], out)
    assert index.data_root == tmp_path / "work" / "index-videos"
    assert list(index.frames.path) == ["a.avi/000000.jpg", "a.avi/000001.jpg"]
    (root / "b").mkdir()
    cv2.imwrite(str(root / "b" / "0.jpg"), np.zeros((30, 40, 3), np.uint8))
    index = _index([root], out)
    assert index.data_root == tmp_path
    assert list(index.scenes.name) == ["a.avi", "b"]
    assert list(index.frames.path) == [
        "work/index-videos/a.avi/000000.jpg", "work/index-videos/a.avi/000001.jpg",
        "drives/b/0.jpg",
    ]  # fmt: skip
    assert all(index.image_path(row).is_file() for row in range(3))
    command = shlex.split(index.info.command)
    assert command[command.index("--video-rate") + 1] == "2.0"
    # What was extracted is not taken for folders of images, unless it is asked for.
    write_video(root / "c" / "a.avi", range(0, 100, 10))
    inside = _index([root], root / "index.arrow")
    again = _index([root], root / "another.arrow")
    assert list(again.scenes.name) == list(inside.scenes.name) == ["a.avi", "b", "c/a.avi"]
    assert len(_index([root / "index-videos"], tmp_path / "x.arrow").frames) == 4


def test_coco_files_beside_videos_that_are_extracted_elsewhere(tmp_path):
    write_video(tmp_path / "in" / "drives" / "a.avi", range(0, 100, 10))
    (tmp_path / "in" / "labelled").mkdir()
    for folder in ("in/labelled", "elsewhere"):
        (tmp_path / folder).mkdir(exist_ok=True)
        cv2.imwrite(str(tmp_path / folder / "0.jpg"), np.zeros((30, 40, 3), np.uint8))
    coco = tmp_path / "in" / "labelled" / "train.json"
    names = ["0.jpg", str(tmp_path / "elsewhere" / "0.jpg")]
    images = [
        {"id": number, "file_name": name, "width": 40, "height": 30}
        for number, name in enumerate(names)
    ]
    coco.write_text(json.dumps({"images": images}))
    roots, out = [coco.parent, tmp_path / "in" / "drives"], tmp_path / "work" / "index.arrow"
    index = _index(roots, out, coco=[coco])
    assert index.data_root == tmp_path
    assert sorted(index.frames.path) == [
        "elsewhere/0.jpg", "in/labelled/0.jpg",
        "work/index-videos/drives/a.avi/000000.jpg", "work/index-videos/drives/a.avi/000001.jpg",
    ]  # fmt: skip
    assert [table.name for table in index.info.tables] == ["in/labelled/train.json"]
    coco.write_text(json.dumps({"images": images[:1]}))
    with pytest.raises(ValueError, match=r"older than its tables: .*labelled/train\.json changed"):
        FrameIndex.open(out)


def test_a_video_under_two_names_is_refused_before_any_is_extracted(tmp_path):
    root, out = tmp_path / "drives", tmp_path / "index.arrow"
    write_video(root / "a" / "1.avi", range(0, 100, 10))
    for roots in ([root, root / "a"], [root, root]):
        with pytest.raises(ValueError, match=rf"a/1\.avi is listed twice, by {root} and {root}.*;"):
            build_frames_index(roots, out)
    (root / "b").symlink_to(root / "a")
    with pytest.raises(ValueError, match=rf"b/1\.avi is listed twice, by {root} as .*a/1\.avi"):
        build_frames_index([root], out)
    assert not (tmp_path / "index-videos").exists()


def test_decoding_gives_every_nth_frame_in_memory(tmp_path):
    video = write_video(tmp_path / "drive.mkv", range(0, 70, 10), rate=10)
    assert videos.frame_rate(video) == pytest.approx(10)
    found = list(videos.decode_video(video, every=3))
    assert [(each.number, each.time) for each in found] == [(0, 0), (3, 300_000), (6, 600_000)]
    np.testing.assert_allclose([each.image[24, 40].mean() for each in found], [0, 30, 60], atol=2)
    assert found[0].image[2, 2].tolist() == pytest.approx([0, 0, 255], abs=8)  # BGR
    assert sorted(each.name for each in tmp_path.iterdir()) == ["drive.mkv"]
    video.write_bytes(b"not a video")
    for read in (videos.frame_rate, lambda path: list(videos.decode_video(path))):
        with pytest.raises(DataError, match=r"drive\.mkv \(11 bytes\) cannot be read"):
            read(video)
