"""Folders of runs and of predictions inside the data: their pictures are not indexed."""

import numpy as np
import pytest
from PIL import Image

from drivemim.data.index.builders.frames import build_frames_index
from drivemim.data.index.frame_index import FrameIndex

PREDICTIONS = '{"score_threshold": 0.3, "images": []}'


@pytest.mark.parametrize(("marker", "content", "kind"), [
    ("last_checkpoint", "/runs/here/iter_4.pth", "run"),
    ("predictions.json", PREDICTIONS, "predictions"),
    # Other programs' files of these names lie beside frames.
    ("last_checkpoint", "epoch 4", None),
    ("predictions.json", '[{"image_id": 1, "bbox": [0, 0, 1, 1]}]', None),
    ("predictions.json", "{", None),
])  # fmt: skip
def test_pictures_of_a_run_are_left_out(tmp_path, marker, content, kind, capsys):
    for number, name in enumerate(("drive/0.png", "work_dirs/here/pictures/0.png")):
        (tmp_path / "d" / name).parent.mkdir(parents=True)
        pixels = np.random.default_rng(number).integers(0, 256, (30, 40, 3), np.uint8)
        Image.fromarray(pixels).save(tmp_path / "d" / name)
    (tmp_path / "d" / "work_dirs" / "here" / marker).write_text(content)
    index = FrameIndex.open(build_frames_index([tmp_path / "d"], tmp_path / "i.arrow"))
    pictures = [] if kind else ["work_dirs/here/pictures/0.png"]
    assert list(index.frames.path) == ["drive/0.png", *pictures]
    line = f"here (of {'a run' if kind == 'run' else kind}) (1)"
    assert (line in capsys.readouterr().out) == (kind is not None)
