import cv2
import numpy as np
from in_process import run_script

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
    assert line.startswith(f"drivemim index: no folder {tmp_path}/v1.0-mini; ")


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
