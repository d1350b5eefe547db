import shutil

import pytest
import torch

from drivemim.compat import read_checkpoint
from drivemim.errors import CheckpointError, ConfigError
from drivemim.training.run import evaluate, train
from drivemim.transfer.exporting import export_backbone, read_export


@pytest.fixture(scope="module")
def configs(repository):
    return repository / "tests" / "toys" / "configs"


@pytest.fixture(scope="module")
def export(configs, tmp_path_factory):
    folder = tmp_path_factory.mktemp("pretrained")
    train(configs / "resnet.py", work_dir=folder / "pretraining")
    export_backbone(folder / "pretraining" / "iter_2.pth", folder / "resnet.safetensors")
    return folder / "resnet.safetensors"


@pytest.fixture(scope="module")
def finetuned(configs, export, tmp_path_factory):
    run = tmp_path_factory.mktemp("finetuned") / "finetuning"
    # The run does not load the weights of the config's init_cfg, which it would have to download.
    train(configs / "detector.py", work_dir=run, options={"backbone_checkpoint": str(export)})
    return run


def test_detector_starts_from_the_export(export, finetuned):
    # The learning rate is 0, so the checkpoint holds the backbone as it was loaded.
    state = read_checkpoint(finetuned / "iter_2.pth")["state_dict"]
    for name, value in read_export(export)[0].items():
        assert torch.equal(state[f"backbone.{name}"], value), name


def test_resumed_detector_keeps_its_own_backbone(configs, export, finetuned, tmp_path):
    run = tmp_path / "resumed"
    run.mkdir()
    content = read_checkpoint(finetuned / "iter_2.pth")
    content["state_dict"]["backbone.conv1.weight"] += 1.0
    torch.save(content, run / "iter_2.pth")
    options = {"backbone_checkpoint": str(export), "train_cfg.max_iters": 4}
    train(configs / "detector.py", work_dir=run, resume="newest", options=options)
    found = read_checkpoint(run / "iter_4.pth")["state_dict"]["backbone.conv1.weight"]
    assert torch.equal(found, content["state_dict"]["backbone.conv1.weight"])


def test_wrong_normalisation_stops_before_the_first_iteration(configs, export, tmp_path):
    options = {
        "backbone_checkpoint": str(export),
        "model.data_preprocessor.bgr_to_rgb": False,
    }
    with pytest.raises(CheckpointError, match="features are not the pretrainer's"):
        train(configs / "detector.py", work_dir=tmp_path / "wrong", options=options)
    assert not list(tmp_path.rglob("iter_*.pth"))


def test_pretrainers_have_no_backbone_to_load(configs, export, tmp_path):
    with pytest.raises(ConfigError, match="model has no backbone"):
        train(configs / "toy.py", work_dir=tmp_path,
              options={"backbone_checkpoint": str(export)})  # fmt: skip


def test_evaluation_writes_metrics_and_refuses_other_models(configs, finetuned, tmp_path):
    found = evaluate(
        configs / "detector.py",
        finetuned / "iter_2.pth",
        work_dir=tmp_path / "evaluation",
        out=tmp_path / "metrics.json",
    )
    assert found == {"images": 4.0}
    assert (tmp_path / "metrics.json").read_text() == '{\n  "images": 4.0\n}'
    named = "another model than the config's RetinaNet. It is a detector's checkpoint"
    with pytest.raises(CheckpointError, match=named):
        evaluate(
            configs / "detector.py",
            finetuned / "iter_2.pth",
            work_dir=tmp_path / "other",
            options={"model.bbox_head.stacked_convs": 2},
        )
    shutil.copy(finetuned / "iter_2.pth", tmp_path / "cut.pth")
    with open(tmp_path / "cut.pth", "r+b") as file:
        file.truncate(5000)
    with pytest.raises(CheckpointError, match="cut.pth is cut short: its 5000 bytes"):
        evaluate(configs / "detector.py", tmp_path / "cut.pth", work_dir=tmp_path / "cut")
