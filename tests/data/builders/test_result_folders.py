"""Folders of runs and of predictions inside the data: their pictures are not indexed."""

import numpy as np
import pytest
from PIL import Image

from drivemim.data.index.builders.frames import build_frames_index
from drivemim.data.index.frame_index import FrameIndex


@pytest.mark.parametrize("marker", ["last_checkpoint", "predictions.json"])
def test_pictures_of_a_run_are_left_out(tmp_path, marker, capsys):
    for number, name in enumerate(("drive/0.png", "work_dirs/here/pictures/0.png")):
        (tmp_path / "d" / name).parent.mkdir(parents=True)
        pixels = np.random.default_rng(number).integers(0, 256, (30, 40, 3), np.uint8)
        Image.fromarray(pixels).save(tmp_path / "d" / name)
    (tmp_path / "d" / "work_dirs" / "here" / marker).touch()
    index = FrameIndex.open(build_frames_index([tmp_path / "d"], tmp_path / "i.arrow"))
    assert list(index.frames.path) == ["drive/0.png"]
    assert "here (of a run or of predictions) (1)" in capsys.readouterr().out
