import cv2
import numpy as np
import pytest
from in_process import run_script

from drivemim.cli import index as cli
from drivemim.data.index.frame_index import FrameIndex


def _run(*arguments):
    return run_script("tools/create_index.py", *arguments)


def test_folders_of_frames(tmp_path):
    for name in ("a/0.jpg", "a/1.jpg", "b/0.jpg"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        cv2.imwrite(str(tmp_path / name), np.zeros((30, 40, 3), np.uint8))
    done = _run("frames", "--root", tmp_path / "a", "--root", tmp_path / "b")
    assert done.returncode == 0, done.stderr
    assert "2 scenes, 3 samples, 3 frames of 1 cameras, 0 boxes" in done.stdout
    assert len(FrameIndex.open(tmp_path / "a" / "drivemim-frames.arrow").frames) == 3


def test_mistakes_are_one_line(tmp_path):
    done = _run("nuscenes", "--root", tmp_path, "--version", "v1.0-mini")
    assert done.returncode == 1
    (line,) = done.stderr.strip().splitlines()
    assert line.startswith(f"FileNotFoundError: no folder {tmp_path}/v1.0-mini; ")
    done = _run("rig", "--root", tmp_path / "none", "--check")
    assert done.returncode == 1
    assert done.stderr.startswith(f"FileNotFoundError: no folder {tmp_path}/none")
    for options, named in (
        (["--rate", "0"], "rate is 0.0; use a number of frames per second above 0"),
        (["--video-rate", "-1"], "video_rate is -1.0; use a number of frames per second above 0"),
    ):
        done = _run("frames", "--root", tmp_path, *options)
        assert done.returncode == 1
        assert done.stderr.startswith(f"ConfigError: {named}")


def test_our_own_mistakes_keep_their_traceback(tmp_path, monkeypatch):
    def fail(*args, **options):
        raise ValueError("operands could not be broadcast together")

    monkeypatch.setattr(cli, "build_index", fail)
    with pytest.raises(ValueError, match="broadcast"):
        _run("frames", "--root", tmp_path)
    monkeypatch.setattr(cli, "record_rig", fail)
    with pytest.raises(ValueError, match="broadcast"):
        _run("rig", "--root", tmp_path, "--check")


def test_the_traceback_of_a_mistake_can_be_kept(tmp_path, monkeypatch):
    monkeypatch.setenv("DRIVEMIM_TRACEBACK", "1")
    with pytest.raises(FileNotFoundError):
        _run("nuscenes", "--root", tmp_path, "--version", "v1.0-mini")


def test_videos_at_a_rate(tmp_path):
    video = str(tmp_path / "drive.avi")
    writer = cv2.VideoWriter(video, cv2.VideoWriter_fourcc(*"MJPG"), 10, (64, 48))
    for level in range(20):
        writer.write(np.full((48, 64, 3), level, np.uint8))
    writer.release()
    done = _run("frames", "--root", tmp_path, "--video-rate", "5")
    assert done.returncode == 0, done.stderr
    assert "1 scenes, 10 samples, 10 frames of 1 cameras" in done.stdout
    assert "10 frames of 1 videos at 5 a second take" in done.stdout
    index = FrameIndex.open(tmp_path / "drivemim-frames.arrow")
    assert index.frames.path[9] == "drivemim-frames-videos/drive.avi/000009.jpg"
