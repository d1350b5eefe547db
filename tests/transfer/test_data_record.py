import importlib.util

import numpy as np
import pytest
from mmengine.config import Config

from drivemim.data import ClipDataset
from drivemim.data.index.builders.nuscenes import build_nuscenes_index
from drivemim.training.probing import frames_of
from drivemim.transfer.data_record import describe_data
from drivemim.transfer.frames_seen import record_frames


@pytest.fixture(scope="module", params=[False, True], ids=["complete", "keyframe missing"])
def index(request, repository, tmp_path_factory):
    """Two scenes with sweeps; in one sample, CAM_BACK may have a sweep instead of a keyframe."""
    path = repository / "tests" / "data" / "conftest.py"
    spec = importlib.util.spec_from_file_location("small_nuscenes_record", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    tables = module.make_tables()
    frame = next(
        each for each in tables["sample_data"]
        if "CAM_BACK" in each["token"] and each["is_key_frame"]
    )  # fmt: skip
    frame["is_key_frame"] = not request.param
    root = module.write_data(tmp_path_factory.mktemp("record") / "data", tables)
    return build_nuscenes_index(root, "v1.0-mini", root.parent / "small.arrow")


@pytest.mark.parametrize("interval", [None, 0.01, 0.5])
@pytest.mark.parametrize("single", [True, False])
@pytest.mark.parametrize("cameras", [None, ["CAM_BACK"]])
def test_frames_of_a_single_step_are_those_of_the_clips(index, interval, single, cameras):
    settings = {
        "index": str(index), "image_size": (64, 96), "num_frames": 1, "frame_interval": interval,
        "single_camera": single, "cameras": cameras,
    }  # fmt: skip
    drawn = frames_of(ClipDataset(**settings))
    (part,) = describe_data(Config({"train_dataloader": {"dataset": settings}}))
    assert part["frames"] == len(drawn.rows)
    assert part["seen"] == record_frames(drawn.index, np.asarray(drawn.rows))["seen"]
