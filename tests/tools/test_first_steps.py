"""First attempts of users: a folder as checkpoint, a number as size, a detector to visualise."""

import shutil
import sys

import pytest

from drivemim.cli import visualize
from drivemim.clips import checked_image_size
from drivemim.data.detection.detection_transforms import LoadReducedImage
from drivemim.errors import CheckpointError, ConfigError
from drivemim.training.run import train
from drivemim.transfer.exporting import export_backbone, read_export
from drivemim.visualization.reconstructions import draw_reconstructions


@pytest.fixture(scope="module")
def toys(repository):
    return repository / "tests" / "toys" / "configs"


@pytest.fixture(scope="module")
def run(toys, tmp_path_factory):
    folder = tmp_path_factory.mktemp("first") / "stepped"
    train(toys / "vit.py", work_dir=folder)
    return folder


def test_a_runs_folder_is_exported_from_its_newest_checkpoint(run, tmp_path):
    shutil.copytree(run, tmp_path / "run")
    (tmp_path / "run" / "iter_9.pth").write_bytes(b"PK, cut short")
    export_backbone(tmp_path / "run", tmp_path / "vit.safetensors")
    source = read_export(tmp_path / "vit.safetensors")[1]["source"]
    assert source["checkpoint"] == str(tmp_path / "run" / "iter_2.pth")
    (tmp_path / "empty").mkdir()
    with pytest.raises(FileNotFoundError, match=r"empty is a folder without a complete checkpoint"):
        export_backbone(tmp_path / "empty", tmp_path / "other.safetensors")


def test_a_runs_folder_is_visualised_from_its_newest_checkpoint(run, toys, tmp_path, monkeypatch):
    drawn = []
    monkeypatch.setattr(visualize, "draw_reconstructions", lambda *a, **_: drawn.append(a) or [])
    arguments = [toys / "vit.py", run, "--out", tmp_path / "out"]
    monkeypatch.setattr(sys, "argv", ["drivemim visualize", *map(str, arguments)])
    visualize.main()
    assert [each[1] for each in drawn] == [run / "iter_2.pth"]


@pytest.mark.parametrize("wrong", [128, "128", (128,), (0, 128), (128, 128.5), [1, 2, 3], None])
def test_a_size_that_is_not_a_pair_is_refused(wrong):
    with pytest.raises(ConfigError) as error:
        checked_image_size(wrong)
    example = (128, 128) if wrong == 128 else (224, 320)
    assert str(error.value) == (
        f"image_size={wrong!r} must be height and width in pixels, such as {example}"
    )
    with pytest.raises(ConfigError):
        LoadReducedImage(image_size=wrong)


def test_pairs_are_sizes():
    assert checked_image_size([128, 256]) == checked_image_size((128, 256)) == (128, 256)


def test_a_number_for_the_size_of_clips_is_one_line(tmp_path):
    options = {"train_dataloader.dataset.image_size": 128}
    with pytest.raises((ConfigError, FileNotFoundError)) as error:
        train("vit_micro_town", work_dir=tmp_path / "run", options=options)
    assert "\n" not in str(error.value)


def test_a_detector_is_not_visualised(toys, run, tmp_path):
    with pytest.raises(ConfigError) as error:
        draw_reconstructions(toys / "detector.py", run / "iter_2.pth", tmp_path / "out")
    assert "is not the config of a pretraining run: its model is RetinaNet" in str(error.value)
    with pytest.raises(ConfigError, match="has no train_dataloader, whose clips are drawn"):
        draw_reconstructions(
            toys / "vit.py", run / "iter_2.pth", tmp_path / "out",
            options={"train_dataloader": None},
        )  # fmt: skip
    assert "drivemim test --show-dir FOLDER" in str(error.value)
    wider = {"model.encoder.embed_dims": 32}
    with pytest.raises(CheckpointError, match=r"give the config of the same run.*Tensors: missh"):
        draw_reconstructions(toys / "vit.py", run / "iter_2.pth", tmp_path / "out", options=wider)
    assert not (tmp_path / "out").exists()
