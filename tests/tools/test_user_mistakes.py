"""Messages for user mistakes: one line that names the thing, without a traceback."""

import cv2
import numpy as np
import pytest
from in_process import run_script

from drivemim.data.index.builders.frames import build_frames_index
from workflow.commands import two_phase_schedule

CONFIG = "configs/pretrain/vit_micro_frames.py"


@pytest.fixture
def drive(tmp_path):
    """A folder of six frames and its index."""
    generator = np.random.default_rng(0)
    folder = tmp_path / "drive"
    folder.mkdir()
    for number in range(6):
        image = generator.integers(0, 255, (60, 80, 3), dtype=np.uint8)
        cv2.imwrite(str(folder / f"{number}.jpg"), image)
    build_frames_index([folder], tmp_path / "index.arrow")
    return folder


def train(drive, *arguments):
    index = drive.parent / "index.arrow"
    place = f"train_dataloader.dataset.index={index}"
    options = ["--cfg-options", place, "train_dataloader.batch_size=2", *two_phase_schedule(4)]
    work_dir = ["--work-dir", drive.parent / "run"]
    return run_script("tools/train.py", CONFIG, *work_dir, *options, *arguments)


def last_line(finished):
    assert finished.returncode == 1, finished.stdout + finished.stderr
    assert "Traceback" not in finished.stderr
    return finished.stderr.strip().splitlines()[-1]


@pytest.mark.parametrize("workers", [0, 1])
def test_truncated_image(drive, workers):
    path = drive / "3.jpg"
    path.write_bytes(path.read_bytes()[:500])
    options = [f"train_dataloader.num_workers={workers}"]
    options += [f"train_dataloader.persistent_workers={workers > 0}"]
    line = last_line(train(drive, *options))
    assert line.startswith(f"DataError: image {path} of frame")
    assert "truncated" in line


def test_missing_image(drive):
    (drive / "3.jpg").unlink()
    line = last_line(train(drive))
    assert line.startswith(f"FileNotFoundError: image {drive / '3.jpg'} of frame")


def test_misspelt_key(drive):
    line = last_line(train(drive, "model.masking.mask_ratoi=0.5"))
    assert "mask_ratoi" in line
    assert "mask_ratio" in line.replace("mask_ratoi", "")


def test_an_invalid_value(drive):
    line = last_line(train(drive, "model.masking.mask_ratio=1.5"))
    assert line.startswith("ConfigError: ")
    assert "1.5" in line


def test_an_option_without_a_value(drive):
    finished = train(drive, "model.masking.mask_ratio")
    assert finished.returncode == 2
    assert "--cfg-options: 'model.masking.mask_ratio' is not KEY=VALUE" in finished.stderr


def test_a_work_dir_below_a_file(drive):
    line = last_line(train(drive, "--work-dir", str(drive / "0.jpg" / "run")))
    assert line == (
        f"NotADirectoryError: {drive / '0.jpg' / 'run'} cannot be written: {drive / '0.jpg'} is a "
        "file"
    )


def test_a_work_dir_that_is_a_file(drive):
    file = drive.parent / "notes.txt"
    file.write_text("mine")
    line = last_line(train(drive, "--work-dir", str(file)))
    assert line == f"NotADirectoryError: {file} is a file; name a folder to write to"
    assert file.read_text() == "mine"


def test_missing_index(drive):
    (drive.parent / "index.arrow").unlink()
    line = last_line(train(drive))
    assert str(drive.parent / "index.arrow") in line
    assert "drivemim index" in line
