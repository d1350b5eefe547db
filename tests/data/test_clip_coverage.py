from dataclasses import replace

import numpy as np
import pytest
from mmengine.config import Config
from shipped_configs import runnable

from drivemim.data.clips.clip_coverage import (
    check_valid_fraction,
    describe_coverage,
    measure_coverage,
)
from drivemim.data.clips.clip_dataset import ClipDataset
from drivemim.data.index.builders.nuscenes import build_nuscenes_index

# The small data set: frames every 1/6 s, samples every 1/2 s, three of them in each scene, and
# one sweep after the last. scene-0061 has two cameras, scene-0103 the front one only.


def _dataset(path, **arguments):
    return ClipDataset(**{"index": path, "image_size": (24, 32), **arguments})


def _counts(data):
    found = measure_coverage(data.clips)
    return {name: getattr(found, f"{name}_T").tolist() for name in
            ("valid", "absent", "ended", "skipped")}  # fmt: skip


@pytest.fixture
def keyframes_only(tables, write):
    tables["sample_data"] = [
        {**row, "prev": "", "next": ""} for row in tables["sample_data"] if row["is_key_frame"]
    ]
    root = write(tables)
    return build_nuscenes_index(root, "v1.0-mini", root / "index.arrow")


def test_coverage_by_hand(small_index):
    # Six clips of two cameras; the rear camera is absent in three of them.
    data = _dataset(small_index, num_frames=3)
    assert _counts(data) == {
        "valid": [9, 6, 3],  # the last sample of a scene has no second step, two no third
        "absent": [3, 3, 3],
        "ended": [0, 3, 6],
        "skipped": [0, 0, 0],
    }
    coverage = measure_coverage(data.clips)
    assert (coverage.clips, coverage.frames, coverage.fraction) == (6, 36, 0.5)
    assert (coverage.valid_C.tolist(), coverage.requested_C.tolist()) == ([6, 12], [18, 18])
    line = describe_coverage(data.clips, coverage)
    assert line.endswith(
        "6 clips of num_frames=3, frame_interval=None, 2 cameras; 50.0% of their 36 frames are "
        "valid (missing: 25.0% after the end of the scene, 25.0% of cameras that the scene does "
        "not have)"
    )
    check_valid_fraction(data.clips, coverage)  # exactly one half is enough


def test_coverage_of_sweeps_by_hand(small_index):
    # Of steps every 150 ms, the fourth (450 ms) is there for all samples but the last.
    data = _dataset(
        small_index, num_frames=4, frame_interval=0.15, scenes="mini_train", drop_incomplete=True
    )
    assert _counts(data)["valid"] == [4, 4, 4, 4]
    arguments = {
        "num_frames": 3,
        "frame_interval": 0.09,
        "scenes": "mini_train",
        "cameras": ["CAM_FRONT"],
    }
    # At 90 ms nothing within 45 ms; at 180 ms frame 1, and after the last sample, at 1 s, the last.
    with pytest.raises(
        ValueError, match=r"step 1 \(0\.09 s .* 0\.167 s apart .*frame_interval=0\.167"
    ):
        _dataset(small_index, **arguments)


def test_one_camera_a_clip_misses_no_camera(small_index):
    data = _dataset(small_index, num_frames=2, single_camera=True)
    assert _counts(data) == {"valid": [9, 6], "absent": [0, 0], "ended": [0, 3], "skipped": [0, 0]}
    assert measure_coverage(data.clips).requested_C.tolist() == [6, 12]


def test_a_dropped_keyframe_is_skipped_and_not_ended(tables, write):
    tables["sample_data"] = [
        row for row in tables["sample_data"] if row["token"] != "scene-0061-CAM_BACK-3"
    ]
    for row in tables["sample_data"]:
        row.update(prev="", next="")
    root = write(tables)
    index = build_nuscenes_index(root, "v1.0-mini", root / "index.arrow")
    data = _dataset(index, num_frames=2, scenes="mini_train")
    assert _counts(data) == {"valid": [5, 3], "absent": [0, 0], "ended": [0, 2], "skipped": [1, 1]}


def test_keyframes_only_with_the_shipped_spacing_is_refused(keyframes_only):
    match = (
        r"no clip of num_frames=3, frame_interval=0\.25 has a frame at step 1 \(0\.25 s after its "
        r"first\); a camera's frames are 0\.5 s apart \(median, keyframes without sweeps\): set "
        r"frame_interval=0\.5, or None for one sample after the other, or index the sweeps too"
    )
    with pytest.raises(ValueError, match=match):
        _dataset(keyframes_only, num_frames=3, frame_interval=0.25)
    # Both fixes work.
    assert _counts(_dataset(keyframes_only, num_frames=3, frame_interval=0.5))["valid"] == [9, 6, 3]
    assert _counts(_dataset(keyframes_only, num_frames=3))["valid"] == [9, 6, 3]


def test_more_steps_than_any_scene_has(small_index):
    with pytest.raises(
        ValueError, match=r"at step 3; no scene has more samples than 3: set num_frames="
    ):
        _dataset(small_index, num_frames=4)
    with pytest.raises(ValueError, match="no scene has more samples than 3"):
        _dataset(small_index, num_frames=5, drop_incomplete=True)
    # The last frame is at 1.167 s, and may be 0.25 s off.
    with pytest.raises(
        ValueError, match=r"at step 3 \(1\.5 s .*ended by then: set num_frames=3 or"
    ):
        _dataset(small_index, num_frames=4, frame_interval=0.5)


def test_no_clip_at_all(small_index):
    with pytest.raises(ValueError, match=r"no clip of scenes=mini_val, cameras=\['CAM_BACK'\]"):
        _dataset(small_index, scenes="mini_val", cameras=["CAM_BACK"])


def test_a_lost_camera_is_named(small_index):
    # Of 12 frames, 6 are of a camera that the scene lacks, and 1 is after its end.
    data = _dataset(small_index, scenes="mini_val", num_frames=2)
    match = r"41\.7% of their 12 .*Less than 50%; cameras: .* \(valid: CAM_BACK 0\.0%\); set cam"
    with pytest.raises(ValueError, match=match):
        check_valid_fraction(data.clips, measure_coverage(data.clips))


@pytest.mark.parametrize(
    ("reason", "cause"),
    [
        (
            "ended",
            r"num_frames: most clips of num_frames=2, frame_interval=0\.1666 reach past the end .* "
            r"drop_incomplete=True",
        ),
        (
            "skipped",
            r"frame_interval: a camera's frames are 0\.167 s apart \(median\): set "
            r"frame_interval=0\.167",
        ),
    ],
)
def test_less_than_half_is_refused_with_its_cause(small_index, reason, cause):
    data = _dataset(small_index, scenes="mini_train", num_frames=2, frame_interval=0.1666)
    coverage = measure_coverage(data.clips)
    assert coverage.valid_T.tolist() == [6, 6]
    reasons = {"ended_T": np.array([0, 1]), "skipped_T": np.array([0, 1])}
    reasons[f"{reason}_T"] = np.array([0, 6])
    few = replace(coverage, valid_T=np.array([5, 0]), **reasons)
    with pytest.raises(ValueError, match=cause):
        check_valid_fraction(data.clips, few)


# -- the shipped configs -------------------------------------------------------------------------


class _Rig:
    """The parts of an index that ``ClipRule`` reads, for one camera with nuScenes' timing."""

    def __init__(self, sweeps):
        rng = np.random.default_rng(4)
        # 20 s at 12 Hz with 12 of 20 lidar turns having an image: gaps of 50 and 100 ms, and
        # between some keyframes only four frames.
        keys = np.arange(41) * 500_000 + rng.integers(-20_000, 20_000, 41)
        between = []
        for start, end in zip(keys[:-1], keys[1:], strict=True):
            count = rng.choice([4, 5]) if sweeps else 0
            turns = np.sort(rng.choice(np.arange(1, 9), count, replace=False))
            between += (start + (end - start) * turns / 9).astype(int).tolist()
        self.times = np.array(sorted([*keys, *between]))
        self.keys = keys


@pytest.fixture(params=[True, False], ids=["sweeps", "keyframes only"])
def nuscenes_like(request, tables, write):
    """One scene of 20 s, with nuScenes' irregular 12 Hz or its 2 Hz keyframes."""
    rig = _Rig(request.param)
    template = {row["token"]: row for row in tables["sample_data"]}["scene-0103-CAM_FRONT-0"]
    start = 1_600_000_000_000_000
    tables["sample"] = [
        {"token": f"s{number}", "timestamp": int(start + key), "prev": "", "next": "",
         "scene_token": "scene-0103-token"}
        for number, key in enumerate(rig.keys)
    ]  # fmt: skip
    place = np.searchsorted(rig.keys, rig.times)
    tables["sample_data"] = [
        {**template, "token": f"f{number}-0", "sample_token": f"s{place[number]}", "next": "",
         "timestamp": int(start + time), "is_key_frame": bool(rig.keys[place[number]] == time),
         "prev": "", "filename": f"samples/CAM_FRONT/{number}.jpg"}
        for number, time in enumerate(rig.times)
    ]  # fmt: skip
    tables["scene"] = tables["scene"][:1]
    tables["scene"][0].update(first_sample_token="s0", last_sample_token="s40")
    tables["sample_annotation"], tables["instance"] = [], []
    root = write(tables)
    path = build_nuscenes_index(root, "v1.0-mini", root / "index.arrow", missing_images="ignore")
    return request.param, path


def test_shipped_configs_fit_nuscenes_timing(nuscenes_like):
    sweeps, path = nuscenes_like
    for config in runnable("pretrain"):
        dataset = Config.fromfile(str(config)).train_dataloader.dataset
        for each in dataset.get("datasets", [dataset]):
            timing = {
                name: each.get(name)
                for name in ("num_frames", "frame_interval", "drop_incomplete")
                if name in each
            }
            if not sweeps and timing.get("frame_interval") == 0.25 and timing["num_frames"] > 1:
                with pytest.raises(ValueError, match=r"set frame_interval=0\.[45]\d*, or None"):
                    _dataset(path, single_camera=True, **timing)
                continue
            data = _dataset(path, single_camera=True, **timing)
            # Of 41 clips of 20 s, only those at the end lack steps.
            assert measure_coverage(data.clips).skipped_T.sum() == 0, config.name
            assert measure_coverage(data.clips).fraction > 0.95, config.name
