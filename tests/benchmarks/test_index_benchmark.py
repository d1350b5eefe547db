import numpy as np

from benchmarks.index_benchmark import _report, look_up, measure_look_up, measure_open
from benchmarks.trainval_tables import write_tables
from drivemim.data.clips.clip_rule import ClipRule
from drivemim.data.index.builders.nuscenes import build_nuscenes_index
from drivemim.data.index.frame_index import FrameIndex


def test_generated_tables_are_whole(tmp_path):
    counts = write_tables(tmp_path, scale=2 / 850)
    path = build_nuscenes_index(
        tmp_path, "v1.0-trainval", tmp_path / "index.arrow", missing_images="ignore"
    )
    index = FrameIndex.open(path)
    # 34,149 samples in 850 scenes are 40 each; 2.6 M images are 13 a sample and camera.
    assert counts == {"scenes": 2, "samples": 80, "frames": 80 * 6 * 13, "boxes": 80 * 34}
    assert (len(index.scenes), len(index.samples)) == (2, 80)
    assert (len(index.frames), len(index.boxes)) == (6240, 2720)
    windows = ClipRule(index, index.camera_numbers(None), 3)
    rows, intrinsics, *_, owners = look_up(windows, 10)
    assert (rows >= 0).all()
    assert intrinsics.shape == (18, 3, 3)
    assert np.unique(owners, return_counts=True)[0].tolist() == [10, 11, 12]
    assert len(owners) == 3 * 34
    assert measure_open(path)["seconds"] > 0
    assert set(measure_look_up(path, 3)) == {"keyframes", "sweeps", "growth"}


def test_a_missed_target_is_an_exit_code(capsys):
    assert _report([("fast", 10.0, "/s", ">", 5), ("free", 1.0, "s", "", 0)]) == 0
    assert _report([("slow", 3.0, "/s", ">", 5)]) == 1
    assert "MISSED" in capsys.readouterr().out
